//! A volume and the states it goes through, as CloudStack has them: there is an `Attaching`, and no `Detaching`.
//!
//! ```text
//! Allocated --create--> Creating --ok--> Ready          Creating --fail--> Allocated
//! Ready --attach|resize|snapshot|revert--> (transitional) --ok|fail--> Ready
//! Allocated|Ready|Creating --destroy--> Destroy --expunge--> Expunging --ok--> Expunged
//! Destroy --recover--> Ready                            Expunging --fail--> Destroy
//! ```

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

/// The bytes of a GiB, the API's unit for sizes that are asked for.
pub(super) const GIB: u64 = 1 << 30;

/// The state of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are CloudStack's")]
pub enum VolumeState {
    Allocated,
    Creating,
    Ready,
    Attaching,
    Resizing,
    Snapshotting,
    RevertSnapshotting,
    Destroy,
    Expunging,
    Expunged,
}

/// What can happen to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Create,
    Attach,
    Resize,
    Snapshot,
    Revert,
    Destroy,
    Expunge,
    Recover,
    Succeeded,
    Failed,
}

/// Where a volume is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// The VM.
    pub vm: Uuid,
    /// The device id: a slot, never the name in the guest.
    pub device_id: u32,
    /// Since when.
    pub since: Timestamp,
}

/// A volume as the database of the management server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its UUID.
    pub id: Uuid,
    /// Its name, which need not be unique.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// Whether it is a VM's root disk.
    pub is_root: bool,
    /// Its state.
    pub state: VolumeState,
    /// Its disk offering; none for a root disk.
    pub offering: Option<Uuid>,
    /// Its size in bytes.
    pub size: u64,
    /// The VM it is attached to: after the success of an attach, until the success of a detach.
    pub attachment: Option<Attachment>,
    /// When its row was made.
    pub created: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether the row is removed: it is still known by id, and listed no more.
    pub removed: bool,
}

impl VolumeState {
    /// The state after `event`; `None` where that must not happen now.
    pub(super) fn after(self, event: Event) -> Option<Self> {
        use VolumeState::*;
        let next = match (self, event) {
            (Allocated, Event::Create) => Creating,
            (Ready, Event::Attach) => Attaching,
            (Ready, Event::Resize) => Resizing,
            (Ready, Event::Snapshot) => Snapshotting,
            (Ready, Event::Revert) => RevertSnapshotting,
            (Allocated | Ready | Creating, Event::Destroy) => Destroy,
            (Destroy, Event::Expunge) => Expunging,
            (Destroy, Event::Recover) => Ready,
            (Creating, Event::Failed) => Allocated,
            (Expunging, Event::Succeeded) => Expunged,
            (Expunging, Event::Failed) => Destroy,
            (Creating, Event::Succeeded) => Ready,
            (Attaching | Resizing | Snapshotting | RevertSnapshotting, Event::Succeeded | Event::Failed) => {
                Ready
            }
            _ => return None,
        };
        Some(next)
    }

    /// What a restart of the management server makes of it, without asking the hypervisor.
    pub(super) fn after_restart(self) -> Self {
        match self {
            Self::Expunging => self,
            _ => self.after(Event::Failed).unwrap_or(self),
        }
    }
}

impl Volume {
    /// The serial that the guest sees: the first 20 hexadecimal digits of the UUID.
    #[must_use]
    pub fn serial(&self) -> String {
        let mut serial = self.id.simple().to_string();
        serial.truncate(20);
        serial
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attaching_never_comes_out_of_allocated() {
        assert_eq!(VolumeState::Allocated.after(Event::Attach), None);
        let created = VolumeState::Allocated.after(Event::Create).unwrap();
        let ready = created.after(Event::Succeeded).unwrap();
        assert_eq!(ready.after(Event::Attach), Some(VolumeState::Attaching));
    }

    #[test]
    fn what_is_under_way_is_not_disturbed() {
        use VolumeState::*;
        for state in [
            Attaching,
            Resizing,
            Snapshotting,
            RevertSnapshotting,
            Expunging,
            Expunged,
        ] {
            for event in [
                Event::Attach,
                Event::Resize,
                Event::Snapshot,
                Event::Destroy,
                Event::Create,
            ] {
                assert_eq!(state.after(event), None, "{state} {event:?}");
            }
        }
    }

    #[test]
    fn a_restart_forgets_what_was_under_way() {
        use VolumeState::*;
        for (before, after) in [
            (Attaching, Ready),
            (Creating, Allocated),
            (Resizing, Ready),
            (Snapshotting, Ready),
            (Ready, Ready),
            (Destroy, Destroy),
            (Expunging, Expunging),
        ] {
            assert_eq!(before.after_restart(), after, "{before}");
        }
    }

    #[test]
    fn failures_lead_back() {
        use VolumeState::*;
        for (state, event, next) in [
            (Creating, Event::Failed, Allocated),
            (Attaching, Event::Failed, Ready),
            (Expunging, Event::Failed, Destroy),
            (Destroy, Event::Recover, Ready),
            (Expunging, Event::Succeeded, Expunged),
        ] {
            assert_eq!(state.after(event), Some(next), "{state} {event:?}");
        }
    }
}
