//! Who is let in: every route of the description, with every kind of caller.

use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::response::Response;
use volumed::auth::Peer;
use volumed::model::OperationId;
use volumed::store::{Asker, operations};

use super::*;

/// A daemon that wants a token from whoever comes over TCP.
struct Strict {
    daemon: Daemon,
    router: Router,
}

impl Strict {
    async fn start() -> Option<Self> {
        let daemon = Daemon::start().await?;
        let policy = Policy {
            tcp_needs_token: true,
            ..Policy::default()
        };
        let api = daemon.api.clone();
        let router = api::router(api, Bytes::MIB, Access::new(policy, 100_000));
        Some(Self { daemon, router })
    }

    /// Asks over TCP.
    async fn ask(&self, method: &str, path: &str, secret: Option<&str>) -> Response {
        let peer = Peer::Tcp("192.0.2.1:9".parse().unwrap());
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        if let Some(secret) = secret {
            request = request.header(AUTHORIZATION, format!("Bearer {secret}"));
        }
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap());
        answer.await.unwrap()
    }

    async fn token(&self, name: &str, scope: &str) -> String {
        let wanted = json!({"name": name, "scope": scope});
        let (status, grant) = self.daemon.ask("POST", "/api/v1/tokens", None, wanted).await;
        assert_eq!(status, StatusCode::CREATED, "{grant}");
        grant["secret"].as_str().unwrap().to_owned()
    }
}

/// Method, an address of the route, and the scope that the description says; `None` for anybody.
fn routes() -> Vec<(String, String, Option<String>)> {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "00000000-0000-7000-8000-000000000000",
            false => part,
        });
        let address = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array();
            let security = security.unwrap_or_else(|| panic!("{method} {path} says nothing of its scope"));
            let scope = security[0]["token"][0].as_str().map(str::to_owned);
            all.push((method.to_uppercase(), address.clone(), scope));
        }
    }
    all
}

async fn code(response: Response) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<Value>(&bytes).unwrap_or_default()["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_needs_what_its_description_says() {
    let Some(strict) = Strict::start().await else {
        return;
    };
    let (read, operate) = (
        strict.token("r", "read").await,
        strict.token("o", "operate").await,
    );
    let mut counted = [0; 2];
    for (method, path, scope) in routes() {
        // These answer slowly or for ever once they are let through.
        let is_slow = path.ends_with("/events") || path.ends_with("/doctor") || path.ends_with("/reconcile");
        let nobody = strict.ask(&method, &path, None).await;
        let Some(scope) = scope else {
            assert_ne!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            continue;
        };
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(
            nobody.headers()[WWW_AUTHENTICATE],
            HeaderValue::from_static("Bearer")
        );
        assert_eq!(code(nobody).await, "unauthorized", "{method} {path}");
        let is_mutation = method != "GET";
        assert!(
            !is_mutation || scope != "read",
            "{method} {path} changes something"
        );
        for (secret, has, index) in [(&read, "read", 0), (&operate, "operate", 1)] {
            let may = scope == "read" || scope == has;
            if may && is_slow {
                continue;
            }
            let answer = strict.ask(&method, &path, Some(secret)).await;
            match may {
                true => assert_ne!(answer.status(), StatusCode::FORBIDDEN, "{method} {path} {has}"),
                false => {
                    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path} {has}");
                    assert_eq!(code(answer).await, "forbidden", "{method} {path} {has}");
                    counted[index] += 1;
                }
            }
        }
    }
    assert!(counted[0] > 15 && counted[1] >= 5, "{counted:?}");
    strict.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_revoked() {
    let Some(strict) = Strict::start().await else {
        return;
    };
    let secret = strict.token("watcher", "read").await;
    let stream = strict.ask("GET", "/api/v1/events", Some(&secret)).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let (status, _) = strict
        .daemon
        .ask("DELETE", "/api/v1/tokens/watcher", None, Value::Null)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let ended = tokio::time::timeout(Duration::from_secs(30), stream.into_body().collect()).await;
    ended.expect("the stream ends within seconds").unwrap();
    let again = strict.ask("GET", "/api/v1/events", Some(&secret)).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    strict.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_operation_is_let_go_when_its_token_is_revoked() {
    let Some(strict) = Strict::start().await else {
        return;
    };
    let secret = strict.token("waiter", "read").await;
    let volume = strict.daemon.create("a").await.parse().unwrap();
    // Recorded behind the daemon's back, so nobody works on it.
    let id = OperationId::new();
    let recorded = strict.daemon.running.store.write(move |tx| {
        let asker = Asker {
            actor: "a test".to_owned(),
            request_id: None,
        };
        operations::insert(tx, id, volume, &volumed::model::Request::Correlate {}, &asker)
    });
    recorded.await.unwrap();
    let path = format!("/api/v1/operations/{id}?wait=60");
    let began = std::time::Instant::now();
    let waiting = strict.ask("GET", &path, Some(&secret));
    let revoking = async {
        // It is let in before.
        let brief = strict.ask("GET", &path.replace("=60", "=0"), Some(&secret)).await;
        assert_eq!(brief.status(), StatusCode::OK);
        tokio::task::yield_now().await;
        strict
            .daemon
            .ask("DELETE", "/api/v1/tokens/waiter", None, Value::Null)
            .await
    };
    let both = async { tokio::join!(waiting, revoking) };
    let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
    let (answer, _) = ended.expect("the wait ends within seconds");
    assert!(began.elapsed() > Duration::from_secs(1), "it was not waiting");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    strict.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_ruled_and_recognised() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let new = |name: &str| json!({"name": name, "scope": "operate"});
    let (_, grant) = daemon.ask("POST", "/api/v1/tokens", None, new("ci")).await;
    daemon
        .refused("POST", "/api/v1/tokens", new("ci"), "token_exists")
        .await;
    daemon
        .refused("POST", "/api/v1/tokens", new("a/b"), "invalid_request")
        .await;
    let late = json!({"name": "late", "scope": "read", "expires_at": "2001-01-01T00:00:00Z"});
    daemon
        .refused("POST", "/api/v1/tokens", late, "invalid_request")
        .await;
    daemon
        .refused(
            "POST",
            "/api/v1/tokens/none/rotate",
            Value::Null,
            "token_not_found",
        )
        .await;
    let asked = json!({"secret": grant["secret"]});
    let (_, found) = daemon
        .ask("POST", "/api/v1/tokens/introspect", None, asked.clone())
        .await;
    assert_eq!(
        (&found["token"]["name"], &found["token"]["scope"]),
        (&json!("ci"), &json!("operate"))
    );
    let listed = daemon.get("/api/v1/tokens").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(grant["secret"].as_str().unwrap()));
    let at_once = json!({"overlap_seconds": 0});
    let (_, rotated) = daemon
        .ask("POST", "/api/v1/tokens/ci/rotate", None, at_once)
        .await;
    assert_ne!(rotated["secret"], grant["secret"]);
    let (_, found) = daemon.ask("POST", "/api/v1/tokens/introspect", None, asked).await;
    assert_eq!(found, json!({}));
    daemon.stop().await;
}
