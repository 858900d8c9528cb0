//! The HTTP layer: what is repeated, what is not, and what every odd answer comes to.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;

use super::super::HttpError;
use super::super::http::{Care, Channel, Outgoing};
use super::server::{Reply, Server, answer, impatient};

const LARGEST: usize = 10_000;

fn channel(server: &Server) -> Arc<Channel> {
    Arc::new(Channel::new(server.endpoint.clone(), &server.trust(), impatient()).unwrap())
}

async fn ask(channel: &Arc<Channel>, care: Care) -> Result<String, HttpError> {
    let outgoing = Outgoing::new(Method::POST, "/sdk").body("question");
    let patience = Duration::from_millis(700);
    let answer = channel.exchange(&outgoing, care, patience, LARGEST).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

fn broken() -> Reply {
    Reply::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec())
}

#[tokio::test]
async fn readings_share_a_connection_and_changes_have_their_own() {
    let server = Server::start(|_| answer(200, "", "fine")).await;
    let channel = channel(&server);
    for care in [Care::Repeatable, Care::Unrepeated, Care::Repeatable, Care::Once] {
        assert_eq!(ask(&channel, care).await.unwrap(), "fine");
    }
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_reading_is_repeated_once_over_a_new_connection() {
    let server = Server::start(|seen| match seen.number {
        0 => answer(200, "", "first"),
        1 => broken(),
        _ => answer(200, "", "second"),
    })
    .await;
    let channel = channel(&server);
    assert_eq!(ask(&channel, Care::Repeatable).await.unwrap(), "first");
    assert_eq!(ask(&channel, Care::Repeatable).await.unwrap(), "second");
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_change_is_sent_once_whatever_becomes_of_its_answer() {
    let odd: [(&str, Reply); 6] = [
        ("cut in the body", broken()),
        ("cut in the head", Reply::Cut(b"HTTP/1.1 200".to_vec())),
        ("cut before the answer", Reply::Cut(Vec::new())),
        ("no HTTP", Reply::Cut(b"hello\r\n\r\n".to_vec())),
        ("silence", Reply::Silence),
        (
            "silence in the body",
            Reply::Keep(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec()),
        ),
    ];
    for (what, reply) in odd {
        let server = Server::start(move |_| reply.clone()).await;
        for care in [Care::Once, Care::Unrepeated] {
            let error = ask(&channel(&server), care).await.unwrap_err();
            assert!(error.may_have_been_sent(), "{what}: {error:?}");
        }
        assert_eq!(server.seen().len(), 2, "{what}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let server = Server::start(|_| Reply::Silence).await;
    let gone = channel(&server);
    drop(server);
    // The task that listens ends at its next wake-up.
    tokio::task::yield_now().await;
    let error = ask(&gone, Care::Once).await.unwrap_err();
    assert!(!error.may_have_been_sent(), "{error:?}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start(|_| answer(302, "Location: https://elsewhere.example/\r\n", "")).await;
    let error = ask(&channel(&server), Care::Repeatable).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Redirect { status: 302, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("elsewhere.example"));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn answers_are_bounded_with_and_without_a_length() {
    let large = "x".repeat(LARGEST + 1);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    for reply in [answer(200, "", &large), Reply::Keep(chunked.into_bytes())] {
        let server = Server::start(move |_| reply.clone()).await;
        let error = ask(&channel(&server), Care::Repeatable).await.unwrap_err();
        assert!(
            matches!(error, HttpError::TooLarge { limit: LARGEST, .. }),
            "{error:?}"
        );
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_silent_server_is_not_asked_twice() {
    let server = Server::start(|_| Reply::Silence).await;
    let error = ask(&channel(&server), Care::Repeatable).await.unwrap_err();
    assert!(matches!(error, HttpError::TooSlow { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_is_served_too() {
    let server = Server::start(|_| {
        Reply::Cut(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec())
    })
    .await;
    let channel = channel(&server);
    for _ in 0..3 {
        assert_eq!(ask(&channel, Care::Unrepeated).await.unwrap(), "ok");
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_connection_is_kept_after_an_answer_in_chunks() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let server = Server::start(|_| Reply::Keep(chunked.to_vec())).await;
    let channel = channel(&server);
    for _ in 0..3 {
        assert_eq!(ask(&channel, Care::Repeatable).await.unwrap(), "ok");
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
}
