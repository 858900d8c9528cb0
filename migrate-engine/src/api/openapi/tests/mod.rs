//! The description: as it is published, of every route and no other, and as the service really answers.

mod fits;
pub(in crate::api) mod site;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::fits::faults;
use self::site::{Site, send, send_with};

use crate::store::JobEnd;

fn text() -> String {
    serde_json::to_string_pretty(&super::document()).unwrap() + "\n"
}

fn document() -> Value {
    serde_json::from_str(&text()).unwrap()
}

#[test]
fn the_published_description_is_the_present_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrate-engine-openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, text()).unwrap();
    }
    let published = std::fs::read_to_string(&golden).unwrap_or_default();
    let is_same = published == text();
    assert!(
        is_same,
        "docs/migrate-engine-openapi.json is not what the service serves; UPDATE_GOLDEN=1 rewrites it"
    );
}

/// Where a path is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Listener {
    Replications,
    Discovery,
}

type Routes = BTreeSet<(Listener, String, String)>;

/// The paths of a router, as its `Debug` tells them: axum has no other way. One that tells none is no success, as then
/// everything that is described is missing.
fn paths(router: &Router) -> BTreeSet<String> {
    let told = format!("{router:?}");
    let (routed, _) = told.split_once("fallback_router").unwrap_or((&told, ""));
    let quoted = routed.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| text.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// What a router answers: each path, and each method that it allows there.
async fn routes(listener: Listener, router: &Router) -> Routes {
    let mut routes = Routes::new();
    for path in paths(router) {
        let (_, headers, _) = send(router, "PROPFIND", &filled(&path), &json!({})).await;
        let allowed = headers["allow"].to_str().unwrap().to_owned();
        let methods = allowed.split(',').filter(|method| *method != "HEAD");
        routes.extend(methods.map(|method| (listener, path.clone(), method.to_lowercase())));
    }
    routes
}

/// A path with something in the place of its names.
fn filled(path: &str) -> String {
    path.split(['{', '}'])
        .enumerate()
        .map(|(nth, part)| if nth % 2 == 1 { "7" } else { part })
        .collect()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((path.clone(), method.clone(), operation.clone()));
        }
    }
    all
}

fn listeners(operation: &Value) -> Vec<Listener> {
    let Some(servers) = operation["servers"].as_array() else {
        return vec![Listener::Replications];
    };
    let of = |server: &Value| match server["url"].as_str().unwrap() {
        super::REPLICATIONS => Listener::Replications,
        super::DISCOVERY => Listener::Discovery,
        other => panic!("nobody listens at {other}"),
    };
    servers.iter().map(of).collect()
}

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_routed() {
    let site = Site::new();
    let mut served = routes(Listener::Replications, &site.replications).await;
    served.extend(routes(Listener::Discovery, &site.discovery).await);
    let mut described = Routes::new();
    for (path, method, operation) in operations(&document()) {
        let all = listeners(&operation).into_iter();
        described.extend(all.map(|one| (one, path.clone(), method.clone())));
    }
    let undescribed: Vec<_> = served.difference(&described).collect();
    assert!(
        undescribed.is_empty(),
        "add these to api/openapi/table.rs: {undescribed:?}"
    );
    let unserved: Vec<_> = described.difference(&served).collect();
    assert!(unserved.is_empty(), "nobody answers these: {unserved:?}");
}

#[tokio::test]
async fn what_needs_the_token_is_said_to_and_all_else_is_answered_without() {
    let site = Site::new();
    site.stopping.cancel(); // the stream of events ends at once
    for (path, method, operation) in operations(&document()) {
        for listener in listeners(&operation) {
            let router = match listener {
                Listener::Replications => &site.replications,
                Listener::Discovery => &site.discovery,
            };
            let request = Request::builder()
                .method(&*method.to_uppercase())
                .uri(filled(&path));
            let response = router
                .clone()
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            let is_refused = response.status() == 401;
            let is_guarded = operation["security"][0]["token"].is_array();
            assert_eq!(is_refused, is_guarded, "{method} {path}");
            assert_eq!(
                operation["responses"]["401"].is_object(),
                is_guarded,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_of_the_daemon_may_do_what_its_scope_says_and_no_more() {
    let site = Site::new();
    site.stopping.cancel(); // the stream of events ends at once
    let mut guarded = 0;
    for (path, method, operation) in operations(&document()) {
        let scope = operation["security"][0]["token"][0].as_str();
        let Some(scope) = scope else { continue };
        guarded += 1;
        let method = method.to_uppercase();
        let ask = async |token| {
            let (status, headers, _) =
                send_with(&site.replications, token, &method, &filled(&path), &json!({})).await;
            (status.as_u16(), headers)
        };
        let (status, headers) = ask("looks").await;
        assert_eq!(status == 403, scope == "operate", "{method} {path}: {status}");
        let challenge = headers.get("www-authenticate").map(|it| it.to_str().unwrap());
        let wanted = (status == 403).then_some("Bearer error=\"insufficient_scope\", scope=\"operate\"");
        assert_eq!(challenge, wanted, "{method} {path}");
        let (status, _) = ask("operates").await;
        assert!(![401, 403, 503].contains(&status), "{method} {path}: {status}");
        assert_eq!(ask("revoked").await.0, 401, "{method} {path}");
        let (status, headers) = ask("unanswered").await;
        assert_eq!(
            status, 503,
            "{method} {path}: unknown is not refused, and not let in"
        );
        assert_eq!(headers["retry-after"], "2");
    }
    assert!(guarded > 10, "{guarded}");
}

#[tokio::test]
async fn who_asks_too_often_waits_and_nobody_else() {
    let site = Site::asked(NonZeroU32::MIN);
    let ask = async |token| {
        let path = "/api/v1/replications";
        let answer = send_with(&site.replications, token, "GET", path, &json!({})).await;
        (answer.0.as_u16(), answer.1)
    };
    for _ in 0..2 {
        assert_eq!(ask("right").await.0, 200);
    }
    let (status, headers) = ask("right").await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(ask("looks").await.0, 200);
}

#[tokio::test]
async fn each_answer_is_one_that_is_described() {
    let site = Site::new();
    site.stopping.cancel(); // the stream of events ends at once
    let document = document();
    for (path, method, operation) in operations(&document) {
        let router = match listeners(&operation).last() {
            Some(Listener::Discovery) => &site.discovery,
            _ => &site.replications,
        };
        let (status, headers, text) = send(router, &method.to_uppercase(), &filled(&path), &json!({})).await;
        let described = &operation["responses"][status.as_str()];
        assert!(
            described.is_object(),
            "{method} {path} answers {status}, which is not described"
        );
        let kind = headers["content-type"].to_str().unwrap();
        let kinds = described["content"].as_object().unwrap();
        let is_described = kinds.keys().any(|known| kind.starts_with(known.as_str()));
        assert!(
            is_described,
            "{method} {path} answers {kind}, which is not described"
        );
        if kind == "application/problem+json" {
            let problem: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(faults(&document, "Problem", &problem), [""; 0], "{method} {path}");
            let code = format!("`{}`", problem["code"].as_str().unwrap());
            let about = described["description"].as_str().unwrap();
            assert!(about.contains(&code), "{method} {path}: {code} is not in {about}");
        }
    }
}

#[tokio::test]
async fn real_answers_are_as_described() {
    let site = Site::new();
    let id = site.job().await["id"].as_str().unwrap().to_owned();
    let one = format!("/api/v1/replications/{id}");
    site.work(
        &id,
        &JobEnd::Failed {
            error: "it broke".to_owned(),
            code: "source_failed".to_owned(),
            hint: Some("mend it".to_owned()),
        },
    );
    let (_, failed) = site.ask("GET", &one, json!({})).await;
    assert_eq!(failed["error"]["hint"], "mend it");
    let (_, retried) = site.ask("POST", &format!("{one}/retry"), json!({})).await;
    site.work(&id, &JobEnd::Completed);
    let cutover = site
        .ask("POST", &format!("{one}/cutover-ready"), json!({}))
        .await
        .1;
    assert_eq!(cutover["cutover_ready"], true);
    let ran = site
        .ask("POST", "/api/v1/schedules/nightly/run", json!({}))
        .await
        .1;
    let document = document();
    for (schema, answer) in [
        ("Replication", failed),
        ("Replication", retried),
        ("CutoverReady", cutover),
        ("ScheduleBegun", ran),
    ] {
        assert_eq!(faults(&document, schema, &answer), [""; 0], "{schema}: {answer}");
    }
    for (path, schema, some) in [
        (&*one, "Replication", "/disks/0"),
        (
            "/api/v1/replications?limit=1",
            "ReplicationPage",
            "/replications/0",
        ),
        ("/api/v1/contexts", "ContextList", "/contexts/0"),
        ("/api/v1/sources", "SourceList", "/sources/0"),
        ("/api/v1/sources/vc/machines", "MachineList", "/vms/0/disks/0"),
        ("/api/v1/schedules", "ScheduleList", "/schedules/0/runs/0"),
        ("/api/v1/transfers", "TransferList", "/transfers/0"),
        ("/api/v1/transfers/1", "Transfer", "/id"),
    ] {
        let (status, answer) = site.ask("GET", path, json!({})).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(answer.pointer(some).is_some(), "{path} has no {some}: {answer}");
        assert_eq!(faults(&document, schema, &answer), [""; 0], "{path}: {answer}");
    }
}

#[tokio::test]
async fn machines_are_discovered_and_told_as_described() {
    let site = Site::new();
    let asked = json!({"vcenter": "vc", "username": "me", "password": "secret", "filter": ""});
    let document = document();
    assert_eq!(faults(&document, "Discovery", &asked), [""; 0]);
    let (status, _, text) = send(&site.discovery, "POST", "/api/v1/discover", &asked).await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.as_u16(), &found["vms"][0]["id"]), (200, &json!("vm-57")));
    assert_eq!(faults(&document, "MachineList", &found), [""; 0], "{found}");
}

#[tokio::test]
async fn both_listeners_serve_the_description_to_anybody() {
    let site = Site::new();
    for router in [&site.replications, &site.discovery] {
        let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), document());
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_every_reference_leads_somewhere() {
    let document = document();
    let operations = operations(&document);
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|(_, _, it)| it["operationId"].to_string())
        .collect();
    assert_eq!(ids.len(), operations.len(), "{ids:?}");
    let text = text();
    let references = text.split("\"$ref\": \"#").skip(1);
    let mut count = 0;
    for reference in references.filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        count += 1;
    }
    assert!(count > 20, "only {count} references");
}

#[test]
fn every_code_is_one_that_a_request_may_fail_with() {
    let document = document();
    let text = document["paths"].to_string();
    let about = document["info"]["description"].as_str().unwrap();
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"]
        .as_array()
        .unwrap();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let code = format!("`{}`", code.as_str().unwrap());
        assert!(
            text.contains(&code) || about.contains(&code),
            "{code} is not described"
        );
    }
}
