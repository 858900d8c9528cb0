//! A request's body as JSON: whatever is wrong with it is a problem that says where.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serving::came_too_slowly;

use super::problem::{Code, Problem};

/// A body that was read. Whether it is called JSON does not matter.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| {
            Problem::invalid(
                format!("the body is not as it should be: {error}"),
                "send a JSON object with the fields that docs/replication.md lists, and no others",
            )
        })
    }
}

fn unread(error: BytesRejection) -> Problem {
    match came_too_slowly(&error) {
        true => Problem::new(
            Code::BodyTooSlow,
            "the body did not come in time; nothing was done",
            "look at the line between; send the request again",
        ),
        false => Problem::invalid(format!("the body cannot be read: {error}"), "send at most 1 MiB"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::routing::post;
    use serving::{Door, Limits, Listener, Server};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    #[tokio::test]
    async fn a_body_that_comes_too_slowly_is_told_from_one_that_is_wrong() {
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().unwrap();
        let limits = Limits {
            body_timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let router = Router::new().route("/", post(|_: Body<serde_json::Value>| async {}));
        let door = Door::near(listener).unwrap();
        let serving = Server::new(limits).answer(door, router, CancellationToken::new());
        let _serving = AbortOnDropHandle::new(tokio::spawn(serving));
        let said = async |request: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            let _ = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
            answer
        };
        let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
        let slow = said(&format!("{head}12")).await;
        assert!(
            slow.starts_with("HTTP/1.1 408") && slow.contains("body_too_slow"),
            "{slow}"
        );
        let wrong = said(&format!("{head}no??")).await;
        assert!(
            wrong.starts_with("HTTP/1.1 400") && wrong.contains("invalid_request"),
            "{wrong}"
        );
    }
}
