//! Queries: every parameter is known, or the request is refused.

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use volume_client::types::ErrorCode;

use crate::api::problem::{ApiError, failure};

/// The parameters of the query.
pub(in crate::api) struct Params<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        params(&parts.uri).map(Params)
    }
}

/// The parameters of this address.
pub(super) fn params<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    match Query::try_from_uri(uri) {
        Ok(Query(params)) => Ok(params),
        Err(rejection) => Err(failure(ErrorCode::InvalidRequest, rejection.body_text())),
    }
}
