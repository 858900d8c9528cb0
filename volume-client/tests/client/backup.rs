//! A backup is what the daemon announced, or it is none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use volume_client::VolumedClient;
use volume_client::client::{ClientError, ProtocolError};

use crate::fake::{Fake, Reply};

fn answer(announced: &[u8], length: usize, sent: &[u8]) -> Reply {
    let digest = STANDARD.encode(Sha256::digest(announced));
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\nrepr-digest: sha-256=:{digest}:\r\n\r\n"
    );
    Reply::Raw([head.as_bytes(), sent].concat())
}

fn database() -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(200_000, 7);
    bytes
}

/// What the client makes of an answer, and what it has written by then.
async fn backed_up(reply: Reply) -> (Result<u64, ClientError>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), move |seen| {
        assert_eq!(seen.call(), "GET /api/v1/database/backup");
        reply.clone()
    });
    let client = VolumedClient::unix(&fake.socket).unwrap();
    let mut written = Vec::new();
    let backup = client.back_up(&mut written).await;
    (backup.map(|backup| backup.size_bytes), written)
}

#[tokio::test]
async fn what_comes_as_announced_is_a_backup() {
    let whole = database();
    let (backup, written) = backed_up(answer(&whole, whole.len(), &whole)).await;
    assert_eq!(backup.unwrap(), whole.len() as u64);
    assert_eq!(written, whole);
}

#[tokio::test]
async fn what_is_damaged_on_the_way_is_none() {
    let whole = database();
    let mut flipped = whole.clone();
    flipped[100_000] ^= 1;
    let rubbish = vec![7; 200_000];
    for (what, reply) in [
        ("a bit", answer(&whole, whole.len(), &flipped)),
        ("the end", answer(&whole, whole.len(), &whole[..150_000])),
        ("the length", answer(&whole, 150_000, &whole[..150_000])),
        ("another file", answer(&rubbish, rubbish.len(), &rubbish)),
        (
            "no digest",
            Reply::Raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ),
    ] {
        let (backup, _) = backed_up(reply).await;
        let error = backup.expect_err(what);
        let is_known = matches!(
            error,
            ClientError::AnswerLost { .. }
                | ClientError::Protocol {
                    source: ProtocolError::Content(_),
                    ..
                }
        );
        assert!(is_known, "{what}: {error:?}");
    }
}
