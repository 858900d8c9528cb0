//! Events: what changed, in order, each once; `GET /api/v1/events` streams them and resumes at `Last-Event-ID`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OperationId, VolumeId};

/// What an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An operation changed its status.
    Operation,
    /// A volume changed its state.
    Volume,
    /// A mapping was bound or released.
    Mapping,
    /// A lease was taken or ended.
    Lease,
    /// A finding appeared or went away.
    Finding,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its number: grows, never repeats, survives restarts.
    pub id: u64,
    /// What it tells.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The volume that it is about, if any.
    pub volume_id: Option<VolumeId>,
    /// The operation that it is about, if any.
    pub operation_id: Option<OperationId>,
    /// The facts: new state, path, reason.
    pub data: Value,
    /// When it was recorded.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}
