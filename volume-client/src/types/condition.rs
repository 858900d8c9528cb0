//! Conditions: what is not as it should be with a volume, since when, and what to do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of thing a condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// The volume should have a device here and has none.
    DeviceMissing,
    /// More than one device carries the volume's identity.
    Ambiguous,
    /// The device is not of the recorded size.
    SizeMismatch,
    /// The device that was mapped is gone; another incarnation has its identity or its name.
    MappingStale,
    /// The device is here though the cloud says that it is detached.
    GhostAttached,
    /// The cloud says that the volume is attached to another VM.
    AttachedElsewhere,
    /// The cloud no longer has the volume.
    GoneInCloud,
    /// Somebody uses the device.
    Busy,
    /// A call to the cloud has no answer yet; it may or may not have happened.
    Unknown,
    /// The cloud is at work on the volume, whoever ordered it; nothing is sent until it is done.
    JobPending,
}

/// One condition of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Condition {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Since when it has been so, as far as the daemon saw.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// What was observed.
    pub reason: String,
    /// What a person can do about it.
    pub hint: String,
}
