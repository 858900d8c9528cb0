//! A replication: its type, its steps, how it stands. Data and words only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a replication begins from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicationType {
    /// From nothing: every disk is copied whole.
    Initial,
    /// From the replication before: what has changed since is copied.
    Incremental,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for its turn.
    Pending,
    /// It is worked on.
    Running,
    /// Every disk is in its volume.
    Completed,
    /// It is not, and will not be tried again by itself.
    Failed,
    /// Somebody stopped it; everything was given back.
    Cancelled,
}

/// The seven steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The job is recorded.
    JobRecord,
    /// The machine was discovered anew, and its disks judged.
    DisksAnalysed,
    /// Each disk has a volume.
    VolumesProvisioned,
    /// Each volume is attached here, and its device proven.
    VolumesAttached,
    /// Each device is published.
    NbdExports,
    /// The machine is frozen, and its bytes move.
    TransferStarted,
    /// All of them have moved, are flushed and compared.
    TransferFollowed,
}

/// The phases that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub enum Phase {
    /// Looking at the machine.
    Initialize,
    /// Volumes are made and attached.
    DiskAllocation,
    /// Bytes move.
    DiskTransfer,
    /// All is done.
    Completed,
}

impl ReplicationType {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Incremental => "incremental",
        }
    }
}

/// A word that names nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {known}")]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What may be given.
    pub known: &'static str,
}

impl FromStr for ReplicationType {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "initial" => Ok(Self::Initial),
            "incremental" => Ok(Self::Incremental),
            _ => Err(UnknownWord {
                word: text.chars().take(40).flat_map(char::escape_debug).collect(),
                known: "initial, incremental",
            }),
        }
    }
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will happen to it any more by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl FromStr for JobStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownWord {
            word: text.chars().take(40).flat_map(char::escape_debug).collect(),
            known: "pending, running, completed, failed, cancelled",
        })
    }
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::JobRecord,
        Self::DisksAnalysed,
        Self::VolumesProvisioned,
        Self::VolumesAttached,
        Self::NbdExports,
        Self::TransferStarted,
        Self::TransferFollowed,
    ];

    /// From 1 to 7.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::JobRecord => 1,
            Self::DisksAnalysed => 2,
            Self::VolumesProvisioned => 3,
            Self::VolumesAttached => 4,
            Self::NbdExports => 5,
            Self::TransferStarted => 6,
            Self::TransferFollowed => 7,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobRecord => "job_record",
            Self::DisksAnalysed => "disks_analysed",
            Self::VolumesProvisioned => "volumes_provisioned",
            Self::VolumesAttached => "volumes_attached",
            Self::NbdExports => "nbd_exports",
            Self::TransferStarted => "transfer_started",
            Self::TransferFollowed => "transfer_followed",
        }
    }

    /// The phase that it belongs to.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::JobRecord | Self::DisksAnalysed => Phase::Initialize,
            Self::VolumesProvisioned | Self::VolumesAttached | Self::NbdExports => Phase::DiskAllocation,
            Self::TransferStarted | Self::TransferFollowed => Phase::DiskTransfer,
        }
    }
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::DiskAllocation => "DiskAllocation",
            Self::DiskTransfer => "DiskTransfer",
            Self::Completed => "Completed",
        }
    }
}

impl fmt::Display for ReplicationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
