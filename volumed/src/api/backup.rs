//! The database as a file: a consistent copy, made while the daemon works.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::Api;
use super::problem::ApiError;
use crate::model::{ErrorCode, Failure};
use crate::store::{BackupError, Copy};

/// How much of the copy is read at a time.
const CHUNK: usize = 64 << 10;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/database/backup", get(back_up))
}

/// The copy has no name any more: whatever becomes of the connection, it goes with its descriptor.
async fn back_up(State(api): State<Api>) -> Result<Response, ApiError> {
    let copy = api.store.backup().await.map_err(refused)?;
    tracing::info!(bytes = copy.size, "the database is being backed up");
    let headers = [
        (CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (CONTENT_LENGTH, copy.size.to_string()),
    ];
    let digest = [(
        "repr-digest",
        format!("sha-256=:{}:", STANDARD.encode(copy.digest)),
    )];
    Ok((headers, digest, body(copy)).into_response())
}

fn body(copy: Copy) -> Body {
    let file = tokio::fs::File::from_std(copy.file);
    Body::from_stream(stream::try_unfold(file, async |mut file| {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(chunk), file)))
    }))
}

fn refused(error: BackupError) -> ApiError {
    match error {
        BackupError::Store(error) => error.into(),
        error @ BackupError::NoRoom { .. } => Failure::new(ErrorCode::StoreFull, error.to_string())
            .hint("make room on the file system that holds the database; nothing is left of the copy")
            .into(),
        error @ (BackupError::Io { .. } | BackupError::Exists { .. }) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the database cannot be copied");
            super::problem::internal().into()
        }
    }
}
