//! Operations: listing, following, cancelling.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::{ClientError, ItemStream, VolumedClient};
use crate::types::{Cursor, Operation, OperationId, OperationKind, OperationStatus, Page, VolumeId};

/// Which operations are asked for; all that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OperationFilter {
    /// Where it is in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<OperationStatus>,
    /// The volume that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// What it does.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<OperationKind>,
}

impl VolumedClient {
    /// One page of the operations, without their steps.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_operations(
        &self,
        filter: &OperationFilter,
        cursor: &Cursor,
    ) -> Result<Page<Operation>, ClientError> {
        self.page("/operations", filter, cursor).await
    }

    /// All operations that fit, without their steps.
    #[must_use]
    pub fn list_all_operations(&self, filter: OperationFilter) -> ItemStream<Operation> {
        self.pages("/operations".to_owned(), filter)
    }

    /// One operation with its steps so far.
    ///
    /// # Errors
    /// A problem `operation_not_found`, or as for every reading.
    pub async fn operation(&self, id: OperationId) -> Result<Operation, ClientError> {
        self.get(&format!("/operations/{id}"), &()).await
    }

    /// Asks for an operation to be withdrawn. The answer is the operation, which ends a little later, cancelled or
    /// completed: whichever came first.
    ///
    /// # Errors
    /// Problems `not_cancellable`, `operation_not_found`; outcome unknown as [`ClientError::outcome_unknown`] says.
    pub async fn cancel_operation(&self, id: OperationId) -> Result<Operation, ClientError> {
        self.submit(&format!("/operations/{id}/cancel"), &json!({})).await
    }

    /// A request that the daemon answers when the operation ended, or after `seconds` (60 at most).
    pub(super) fn poll_operation(&self, id: OperationId, seconds: u64) -> reqwest::RequestBuilder {
        self.request(Method::GET, &format!("/operations/{id}"))
            .query(&[("wait", seconds)])
    }
}
