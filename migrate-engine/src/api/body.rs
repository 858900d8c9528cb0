//! A request's body as JSON: whatever is wrong with it is a problem that says where.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body that was read. Whether it is called JSON does not matter.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            Problem::invalid(format!("the body cannot be read: {error}"), "send at most 1 MiB")
        })?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| {
            Problem::invalid(
                format!("the body is not as it should be: {error}"),
                "send a JSON object with the fields that docs/replication.md lists, and no others",
            )
        })
    }
}
