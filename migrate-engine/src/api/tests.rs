//! Each path of the API over a board with a transfer under way and one that ended.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Api, router};
use crate::pipeline::{Board, BoardWatch, Doing, Watch};
use crate::transfer::Progress;

struct Site {
    api: Api,
    /// Keeps the transfer under way.
    _watch: BoardWatch,
}

impl Site {
    /// Transfer 1 broke off, transfer 2 goes on.
    fn new() -> Self {
        let board = Board::new();
        let watch = board.watch("web \"1\".qcow2");
        watch.moving(Doing::Copying, "disk-1", &Arc::new(Progress::new()));
        watch.moving(Doing::ReadingBack, "disk-2", &Arc::new(Progress::new()));
        let stopping = CancellationToken::new();
        Self {
            api: Api {
                board,
                stopping,
                desk: None,
                expiry: None,
            },
            _watch: watch,
        }
    }

    async fn ask(&self, method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        router(self.api.clone()).oneshot(request.unwrap()).await.unwrap()
    }

    async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.ask("GET", path).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> (StatusCode, serde_json::Value) {
        let (status, text) = self.text(path).await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn transfers_are_listed_and_told_one_by_one() {
    let site = Site::new();
    let (status, list) = site.json("/api/v1/transfers").await;
    assert_eq!(status, StatusCode::OK);
    let list = list["transfers"].as_array().unwrap();
    let told: Vec<_> = list
        .iter()
        .map(|one| {
            (
                one["id"].as_u64().unwrap(),
                one["status"].as_str().unwrap(),
                one["doing"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(1, "broken_off", "copying"), (2, "running", "reading_back")]
    );
    let (status, one) = site.json("/api/v1/transfers/2").await;
    assert_eq!((status, &one["disk"]), (StatusCode::OK, &"disk-2".into()));
    assert!(one["eta_seconds"].is_null() && one["ended_at"].is_null());
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_something_to_do() {
    let site = Site::new();
    for (path, status, code) in [
        ("/api/v1/transfers/7", 404, "transfer_not_found"),
        ("/api/v1/transfers/x", 400, "invalid_request"),
        ("/api/v1/jobs", 404, "route_not_found"),
    ] {
        let (found, problem) = site.json(path).await;
        assert_eq!(
            (found.as_u16(), &problem["code"]),
            (status, &code.into()),
            "{path}"
        );
        assert!(problem["hint"].as_str().unwrap().len() > 10);
    }
    let refused = site.ask("DELETE", "/api/v1/transfers").await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn metrics_name_what_is_under_way_and_count_what_ended() {
    let site = Site::new();
    let (status, text) = site.text("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    let running = r#"migrate_engine_transfer_data_done_bytes{transfer="2",source="web \"1\".qcow2",disk="disk-2",doing="reading_back"} 0"#;
    assert!(text.contains(running), "{text}");
    assert!(!text.contains(r#"transfer="1""#), "{text}");
    assert!(text.contains(r#"migrate_engine_transfers_ended_total{outcome="broken_off"} 1"#));
    assert!(text.contains(r#"migrate_engine_read_bytes_total{doing="copying"} 0"#));
    assert!(text.contains("migrate_engine_build_info{") && text.contains("process_open_fds "));
}

#[tokio::test(start_paused = true)]
async fn the_stream_begins_with_what_is_under_way_tells_of_ends_and_ends_itself() {
    let site = Site::new();
    let response = site.ask("GET", "/api/v1/events").await;
    let mut stream = response.into_body().into_data_stream();
    let first = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(
        first.starts_with("event: transfer\n") && first.contains(r#""id":2"#),
        "{first}"
    );
    site._watch.done();
    let second = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(second.contains(r#""status":"broken_off""#), "{second}");
    site.api.stopping.cancel();
    assert!(stream.next().await.is_none());
}
