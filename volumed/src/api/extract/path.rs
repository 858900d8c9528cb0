//! Ids in paths: one that cannot be an id names nothing, so it is answered as not found.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use volume_client::types::{ErrorCode, FindingId, LeaseId, OperationId, SnapshotId, VolumeId};

use crate::api::problem::{ApiError, failure};

/// An id that stands in paths.
pub(in crate::api) trait PathId: FromStr<Err: Display> {
    /// The parameter's name in routes.
    const PARAM: &'static str;
    /// What is said of one that names nothing.
    const MISSING: ErrorCode;
}

impl PathId for VolumeId {
    const PARAM: &'static str = "volume_id";
    const MISSING: ErrorCode = ErrorCode::VolumeNotFound;
}

impl PathId for SnapshotId {
    const PARAM: &'static str = "snapshot_id";
    const MISSING: ErrorCode = ErrorCode::SnapshotNotFound;
}

impl PathId for OperationId {
    const PARAM: &'static str = "operation_id";
    const MISSING: ErrorCode = ErrorCode::OperationNotFound;
}

impl PathId for LeaseId {
    const PARAM: &'static str = "lease_id";
    const MISSING: ErrorCode = ErrorCode::LeaseNotFound;
}

impl PathId for FindingId {
    const PARAM: &'static str = "finding_id";
    const MISSING: ErrorCode = ErrorCode::FindingNotFound;
}

/// The id of this kind in the request's path.
pub(in crate::api) struct At<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| failure(T::MISSING, "the path is not UTF-8"))?;
        let text = params.iter().find(|(name, _)| *name == T::PARAM);
        let text = text.map_or("", |(_, text)| text);
        let id = text
            .parse()
            .map_err(|e: T::Err| failure(T::MISSING, e.to_string()))?;
        Ok(At(id))
    }
}
