//! A volume and its attachment: their states and which change of state is allowed.
//!
//! ```text
//! creating ──> available ──> attaching ──> in_use ──> detaching ──> available
//!     │            │  ▲          │           │  ▲          │
//!     ▼            │  └──────────┘           │  └──────────┘ (not detached after all)
//!  deleted         ├──> extending ──> back   └──> extending ──> back
//!                  └──> deleting ──> deleted
//! ```

use super::text::text_enum;
use super::{Bytes, Identity};
pub use volume_client::types::{FindingId, LeaseId, OperationId, SnapshotId, SourceDisk, VolumeId};

text_enum! {
    /// Where a volume is in its life.
    VolumeState ("volume state") {
        /// Asked for, not yet there.
        Creating = "creating",
        /// There, attached to nothing.
        Available = "available",
        /// Being attached.
        Attaching = "attaching",
        /// Attached, device bound.
        InUse = "in_use",
        /// Being detached.
        Detaching = "detaching",
        /// Being made larger.
        Extending = "extending",
        /// Being deleted.
        Deleting = "deleting",
        /// A person must look at it.
        Error = "error",
        /// Gone; the row is a tombstone.
        Deleted = "deleted",
    }
}

text_enum! {
    /// Where an attachment is in its life.
    AttachmentState ("attachment state") {
        /// Reserved, device not bound.
        Attaching = "attaching",
        /// Device bound.
        Attached = "attached",
        /// Being detached.
        Detaching = "detaching",
        /// Ended.
        Detached = "detached",
    }
}

text_enum! {
    /// Where a snapshot is in its life.
    SnapshotState ("snapshot state") {
        /// Being taken.
        Creating = "creating",
        /// There.
        Ready = "ready",
        /// Being deleted.
        Deleting = "deleting",
        /// Gone.
        Deleted = "deleted",
    }
}

text_enum! {
    /// What a lease is for.
    LeasePurpose ("lease purpose") {
        /// Served over NBD.
        Export = "export",
        /// Read or written by a transfer.
        Transfer = "transfer",
        /// Changed by a guest conversion.
        Conversion = "conversion",
        /// Looked at.
        Inspection = "inspection",
    }
}

text_enum! {
    /// How a lease's holder uses the device.
    LeaseAccess ("lease access") {
        /// Only reads.
        Read = "read",
        /// Writes; a volume has one writer at most.
        Write = "write",
    }
}

text_enum! {
    /// What an event tells.
    EventKind ("event kind") {
        /// An operation changed its status.
        Operation = "operation",
        /// A volume changed its state.
        Volume = "volume",
        /// A mapping was bound or released.
        Mapping = "mapping",
        /// A lease was taken or ended.
        Lease = "lease",
        /// A finding appeared or went away.
        Finding = "finding",
    }
}

impl VolumeState {
    /// Whether a volume may go from this state to `next`. Staying is always allowed: a repeated step changes nothing.
    #[must_use]
    pub fn may_become(self, next: VolumeState) -> bool {
        use VolumeState::{
            Attaching, Available, Creating, Deleted, Deleting, Detaching, Error, Extending, InUse,
        };
        if self == next {
            return true;
        }
        match self {
            Creating => matches!(next, Available | Deleted | Error),
            Available => matches!(next, Attaching | Extending | Deleting | Error),
            Attaching => matches!(next, InUse | Available | Error),
            InUse => matches!(next, Detaching | Extending | Available | Error),
            Detaching => matches!(next, Available | InUse | Error),
            Extending => matches!(next, Available | InUse | Error),
            Deleting => matches!(next, Deleted | Available | Error),
            Error => matches!(next, Available | InUse | Attaching | Detaching | Deleting),
            Deleted => false,
        }
    }
}

/// What a device must be to be a given volume's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceExpectation {
    /// The identity it must carry.
    pub identity: Identity,
    /// The size it must have, to the byte.
    pub size: Bytes,
}

impl DeviceExpectation {
    /// Whether the identity can tell one disk from another at all.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        match &self.identity {
            Identity::Serial(serial) => !serial.trim().is_empty(),
            Identity::LoopBacking { inode, .. } => *inode != 0,
            Identity::Appeared(plug_in) => plug_in.diskseq != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_volume_stays_deleted() {
        for &next in VolumeState::ALL {
            assert_eq!(
                VolumeState::Deleted.may_become(next),
                next == VolumeState::Deleted,
                "{next}"
            );
        }
    }

    #[test]
    fn an_attached_volume_is_not_deleted() {
        for state in [VolumeState::InUse, VolumeState::Attaching, VolumeState::Detaching] {
            assert!(!state.may_become(VolumeState::Deleting));
            assert!(!state.may_become(VolumeState::Deleted));
        }
    }

    #[test]
    fn every_state_is_read_as_it_is_written() {
        for &state in VolumeState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("attached".parse::<VolumeState>().is_err());
    }
}
