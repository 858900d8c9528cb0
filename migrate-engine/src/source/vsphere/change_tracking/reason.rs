//! Why what changed is not known, so that the whole disk has to be read.

use super::super::inventory::Disk;
use super::super::soap::Fault;
use super::{ChangeId, CoverageError};

/// A full copy is needed, because ...
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FullCopyReason {
    /// The disk does not track its changes.
    #[error(
        "a full copy is needed, because the disk does not track its changes: turn tracking on for the machine"
    )]
    NotTracked,
    /// Tracking began anew since.
    #[error(
        "a full copy is needed, because tracking began anew since the last one (epoch {now} instead of {before}), as \
         after a hard power-off, a move of the storage or a reset"
    )]
    Reset {
        /// The epoch of the last copy.
        before: String,
        /// The present one.
        now: String,
    },
    /// The point in time lies ahead of the snapshot: the machine was put back to an older state.
    #[error(
        "a full copy is needed, because the last one was of a later state ({before}) than the snapshot ({now}): the \
         machine was put back to an earlier snapshot"
    )]
    WentBack {
        /// The point in time of the last copy.
        before: ChangeId,
        /// The snapshot's.
        now: ChangeId,
    },
    /// The disk was grown or shrunk since.
    #[error("a full copy is needed, because the disk's size changed from {before} to {now} bytes")]
    Resized {
        /// The size at the last copy.
        before: u64,
        /// The present one.
        now: u64,
    },
    /// The host does not know the point in time, or its record of changes is damaged.
    #[error(
        "a full copy is needed, because the host does not know the point in time `{change_id}`, or its record of changes is damaged"
    )]
    Unknown {
        /// The point in time, or `*`.
        change_id: String,
    },
    /// What is allocated cannot be told for this disk: tracking was turned on later.
    #[error("a full copy is needed, because the host cannot tell which areas of the disk are in use")]
    EpochMissing,
    /// The host finds the disk's key or offset wrong.
    #[error("a full copy is needed, because the host finds {argument} wrong")]
    Argument {
        /// What it finds wrong.
        argument: String,
    },
    /// The host does not read its record, without saying more.
    #[error("a full copy is needed, because the host cannot read its record of changes")]
    Unreadable,
    /// The host does not have this function.
    #[error("a full copy is needed, because the host does not tell changes of disks")]
    Unsupported,
    /// The answers leave a doubt.
    #[error("a full copy is needed, because the host's answers leave a doubt")]
    Doubtful(#[source] CoverageError),
}

impl FullCopyReason {
    /// What a refusal of the question for changes since `since` comes to; `None` for what is about something else: the
    /// login, a right, the snapshot.
    pub(super) fn of(fault: &Fault, since: &str) -> Option<Self> {
        let unknown = || Self::Unknown {
            change_id: since.to_owned(),
        };
        match (fault.kind(), fault.key().and_then(|key| key.rsplit('.').next())) {
            (_, Some("noTrack")) => Some(Self::NotTracked),
            (_, Some("noEpoch")) => Some(Self::EpochMissing),
            (_, Some("cannotGetChanges")) => Some(unknown()),
            ("InvalidArgument", _) => Some(match fault.detail("invalidProperty") {
                None | Some("changeId") => unknown(),
                Some(argument) => Self::Argument {
                    argument: argument.chars().take(60).flat_map(char::escape_debug).collect(),
                },
            }),
            ("MethodNotFound" | "NotSupported" | "NotImplemented", _) => Some(Self::Unsupported),
            ("FileFault" | "FileNotFound" | "FileLocked" | "CannotAccessFile" | "SystemError", _) => {
                Some(Self::Unreadable)
            }
            _ => None,
        }
    }
}

impl Disk {
    /// Whether the disk of a snapshot (`self`) goes on from a copy that was of `before`, when the disk had `capacity`
    /// bytes. Pure; to be asked before the host is.
    ///
    /// # Errors
    /// The reason why a full copy is needed.
    pub fn goes_on_from(&self, before: &ChangeId, capacity: u64) -> Result<(), FullCopyReason> {
        let now = self.change_id.as_ref().ok_or(FullCopyReason::NotTracked)?;
        if !now.is_same_epoch(before) {
            return Err(FullCopyReason::Reset {
                before: before.epoch().to_owned(),
                now: now.epoch().to_owned(),
            });
        }
        if now.number() < before.number() {
            return Err(FullCopyReason::WentBack {
                before: before.clone(),
                now: now.clone(),
            });
        }
        match self.capacity_bytes {
            Some(size) if size == capacity => Ok(()),
            size => Err(FullCopyReason::Resized {
                before: capacity,
                now: size.unwrap_or_default(),
            }),
        }
    }
}
