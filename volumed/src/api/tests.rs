//! What every request gets, tried on routes that need no daemon behind them.

use std::time::Duration;

use axum::body::{Body, Bytes as BodyBytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use volume_client::types::{ErrorCode, NewVolume, VolumeId};

use super::accepted::follow;
use super::extract::{At, Command, Empty, Params, claim};
use super::problem::{ApiError, failure};
use super::*;
use crate::auth::Peer;
use crate::model::{Bytes, OperationId, Request as Asked};
use crate::store::idempotency::KeyedResource;
use crate::store::volumes::NewRow;
use crate::store::{Asker, Key, StoreError, operations as operation_rows, volumes as volume_rows};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OneNumber {
    number: Option<u32>,
}

async fn echo(command: Command<NewVolume>) -> Json<Value> {
    let key = command.key.map(|key| json!([key.key, key.request_hash]));
    Json(json!({
        "name": command.body.name,
        "actor": command.asker.actor,
        "request_id": command.asker.request_id,
        "wait": command.wait.map(|wait| wait.as_secs()),
        "key": key,
    }))
}

fn app() -> Router {
    let routes = Router::new()
        .route("/echo", post(echo))
        .route("/empty", post(|_: Command<Empty>| async { "done" }))
        .route(
            "/at/{volume_id}",
            get(|At(id): At<VolumeId>| async move { id.to_string() }),
        )
        .route(
            "/query",
            get(|Params(query): Params<OneNumber>| async move { query.number.unwrap_or(7).to_string() }),
        )
        .route("/panic", get(|| async { panic!("on purpose") as () }))
        .route(
            "/refused",
            get(|| async { Err::<(), ApiError>(failure(ErrorCode::WrongState, "no")) }),
        );
    finish(routes, Metrics::new(), Bytes(1024))
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn bytes(response: Response) -> BodyBytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn answer(request: Request<Body>) -> (StatusCode, Value) {
    let response = app().oneshot(request).await.unwrap();
    let status = response.status();
    let body = bytes(response).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Path, headers, body, and the code that is answered.
type BadRequest<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, ErrorCode);

const JSON: (&str, &str) = ("content-type", "application/json");
const GOOD: &str = r#"{"name":"a","size_bytes":1}"#;

#[tokio::test]
async fn each_kind_of_bad_request_has_its_code() {
    let long = format!(r#"{{"name":"{}","size_bytes":1}}"#, "x".repeat(1024));
    let cases: &[BadRequest<'_>] = &[
        ("/echo", &[JSON], "{\"name\":", ErrorCode::MalformedJson),
        ("/echo", &[JSON], "nonsense", ErrorCode::MalformedJson),
        ("/echo", &[JSON], "\u{0}", ErrorCode::MalformedJson),
        ("/echo", &[], GOOD, ErrorCode::UnsupportedMediaType),
        (
            "/echo",
            &[("content-type", "text/plain")],
            GOOD,
            ErrorCode::UnsupportedMediaType,
        ),
        ("/echo", &[JSON], &long, ErrorCode::BodyTooLarge),
        ("/echo", &[JSON], "{}", ErrorCode::InvalidRequest),
        ("/echo", &[], "", ErrorCode::InvalidRequest),
        ("/echo", &[JSON], r#"["a",1]"#, ErrorCode::InvalidRequest),
        (
            "/echo",
            &[JSON],
            r#"{"name":"a","size_bytes":-1}"#,
            ErrorCode::InvalidRequest,
        ),
        (
            "/echo",
            &[JSON],
            r#"{"name":"a","size_bytes":1,"colour":2}"#,
            ErrorCode::InvalidRequest,
        ),
        ("/echo?wait=soon", &[JSON], GOOD, ErrorCode::InvalidRequest),
        ("/echo?colour=red", &[JSON], GOOD, ErrorCode::InvalidRequest),
        (
            "/echo",
            &[JSON, ("idempotency-key", "")],
            GOOD,
            ErrorCode::InvalidRequest,
        ),
        (
            "/echo",
            &[JSON, ("idempotency-key", "a\tb")],
            GOOD,
            ErrorCode::InvalidRequest,
        ),
        (
            "/echo",
            &[JSON, ("idempotency-key", "clé")],
            GOOD,
            ErrorCode::InvalidRequest,
        ),
        ("/empty", &[JSON], r#"{"colour":1}"#, ErrorCode::InvalidRequest),
        ("/empty", &[JSON], "[]", ErrorCode::InvalidRequest),
        ("/nothing", &[], "", ErrorCode::RouteNotFound),
        ("/panic", &[], "", ErrorCode::MethodNotAllowed),
    ];
    for (path, headers, body, code) in cases {
        let (status, problem) = answer(request(Method::POST, path, headers, body)).await;
        assert_eq!(
            problem["code"],
            code.as_str(),
            "{path} {headers:?} {body}: {problem}"
        );
        assert_eq!(status, code.http_status(), "{path} {body}");
        assert!(problem["request_id"].is_string());
    }
}

#[tokio::test]
async fn a_body_may_be_absent_or_empty_where_the_path_says_everything() {
    for body in ["", "{}", " { } "] {
        let (status, _) = answer(request(Method::POST, "/empty", &[JSON], body)).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
    }
}

#[tokio::test]
async fn ids_and_queries_are_checked() {
    for (path, code) in [
        ("/at/not-an-id", ErrorCode::VolumeNotFound),
        ("/at/%ff", ErrorCode::VolumeNotFound),
        ("/query?number=x", ErrorCode::InvalidRequest),
        ("/query?nummer=1", ErrorCode::InvalidRequest),
    ] {
        let (status, problem) = answer(request(Method::GET, path, &[], "")).await;
        assert_eq!(problem["code"], code.as_str(), "{path}: {problem}");
        assert_eq!(status, code.http_status());
    }
    assert_eq!(
        answer(request(Method::GET, "/query?number=3", &[], "")).await.1,
        3
    );
}

#[tokio::test]
async fn a_command_carries_who_asks_and_for_how_long() {
    let mut asked = request(
        Method::POST,
        "/echo?wait=3600",
        &[
            ("content-type", "Application/JSON; charset=utf-8"),
            ("x-request-id", "job-7.a_b"),
        ],
        GOOD,
    );
    let peer = Peer::Unix { uid: 3, pid: Some(4) };
    asked.extensions_mut().insert(peer);
    let (status, echoed) = answer(asked).await;
    assert_eq!(status, StatusCode::OK, "{echoed}");
    assert_eq!(echoed["actor"], "uid:3 pid:4");
    assert_eq!(echoed["request_id"], "job-7.a_b");
    assert_eq!(echoed["wait"], 60);
    assert_eq!(echoed["key"], Value::Null);
}

#[tokio::test]
async fn a_request_id_is_the_callers_where_that_does_no_harm() {
    for (given, taken) in [
        ("abc-1", true),
        ("a b", false),
        ("", false),
        (&"x".repeat(65), false),
    ] {
        let response = app()
            .oneshot(request(Method::GET, "/refused", &[("x-request-id", given)], ""))
            .await
            .unwrap();
        let told = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(&bytes(response).await).unwrap();
        assert_eq!(problem["request_id"], told);
        assert_eq!(told == given, taken, "{given:?} became {told:?}");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let (status, problem) = answer(request(Method::GET, "/panic", &[], "")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem["code"], "internal");
    assert!(!problem.to_string().contains("on purpose"));
}

#[tokio::test]
async fn a_key_belongs_to_what_is_asked_not_to_how_it_is_written() {
    let hash = async |path: &str, body: &str| {
        let headers = [JSON, ("idempotency-key", "k 1")];
        let (_, echoed) = answer(request(Method::POST, path, &headers, body)).await;
        assert_eq!(echoed["key"][0], "k 1", "{echoed}");
        echoed["key"][1].clone()
    };
    let first = hash("/echo", GOOD).await;
    assert_eq!(
        hash("/echo?wait=5", " {\"size_bytes\": 1, \"name\": \"a\"}").await,
        first
    );
    assert_ne!(hash("/echo", r#"{"name":"a","size_bytes":2}"#).await, first);
    assert_ne!(hash("/echo?confirm_name=a", GOOD).await, first);
}

fn open_store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("volumed.db")).unwrap();
    (dir, store)
}

#[tokio::test]
async fn a_key_is_claimed_once() {
    let (_dir, store) = open_store();
    let key = |hash: &str| Key {
        key: "k".into(),
        request_hash: hash.into(),
    };
    for (hash, ours) in [("one", true), ("one", true), ("two", false)] {
        let key = key(hash);
        let claimed = store
            .write(move |tx| claim(tx, Some(&key), KeyedResource::Lease, "id"))
            .await;
        assert_eq!(claimed.unwrap(), ours, "{hash}");
    }
}

async fn pending_operation(store: &Store) -> OperationId {
    let (volume, operation) = (VolumeId::new(), OperationId::new());
    let recorded = store.write(move |tx| {
        let row = NewRow {
            name: "a",
            size: Bytes(4096),
            source: None,
        };
        volume_rows::insert(tx, volume, "local", &row)?;
        let asker = Asker {
            actor: "test".into(),
            request_id: None,
        };
        operation_rows::insert(tx, operation, volume, &Asked::Detach {}, &asker)
    });
    recorded.await.unwrap();
    operation
}

#[tokio::test]
async fn who_waits_is_woken_by_the_end_and_by_nothing_less() {
    let (_dir, store) = open_store();
    let id = pending_operation(&store).await;
    let stopping = CancellationToken::new();
    let waiting = tokio::spawn({
        let (store, stopping) = (store.clone(), stopping.clone());
        async move { follow(&store, &stopping, id, Duration::from_secs(60)).await }
    });
    store
        .write(move |tx| operation_rows::start(tx, id).map(drop))
        .await
        .unwrap();
    assert!(!waiting.is_finished());
    store
        .write(move |tx| operation_rows::finish(tx, id, None).map(drop))
        .await
        .unwrap();
    let followed = tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap();
    let (record, _) = followed.unwrap().unwrap().unwrap();
    assert!(record.status.is_final());
}

#[tokio::test]
async fn who_waits_is_answered_at_the_end_of_the_wait_and_when_the_daemon_stops() {
    let (_dir, store) = open_store();
    let id = pending_operation(&store).await;
    let stopping = CancellationToken::new();
    let found = follow(&store, &stopping, id, Duration::from_millis(5))
        .await
        .unwrap();
    assert!(!found.unwrap().0.status.is_final());
    stopping.cancel();
    let found = follow(&store, &stopping, id, Duration::from_secs(3600)).await;
    assert!(found.unwrap().is_some());
    let nothing = follow(&store, &stopping, OperationId::new(), Duration::ZERO).await;
    assert!(matches!(nothing, Ok::<_, StoreError>(None)));
}
