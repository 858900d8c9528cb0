//! How a disk is copied: all of it, what the source says has changed, or what differs by digest. Pure.

use std::ops::Range;
use std::sync::Arc;

use crate::config::Tracking;
use crate::model::ReplicationType;
use crate::source::{Changes, FrozenDisk, Mark};
use crate::store::{Content, DiskState, JobRow};
use crate::transfer::DiskDigest;

/// How a disk is copied.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mode {
    /// All of it.
    Everything,
    /// What the source says has changed since the volume was equal to a disk of this digest.
    Changed(DiskDigest, Arc<[Range<u64>]>),
    /// The blocks that differ from those of this digest, to which the volume is equal.
    Compared(DiskDigest),
}

/// What a volume can be built on: the digest of what it is equal to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Base {
    digest: DiskDigest,
    mark: Option<String>,
    capacity: u64,
    is_being_updated: bool,
}

impl Mode {
    /// The word for it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Changed(..) => "changed",
            Self::Compared(_) => "compared",
        }
    }

    /// What the volume is recorded to be equal to before the first write (see `store/replication/disks.rs`).
    pub(super) fn content_meanwhile(&self) -> Content {
        match self {
            Self::Changed(..) => Content::Updating,
            Self::Everything | Self::Compared(_) => Content::Unknown,
        }
    }

    /// Names what is copied onto what, for the journal: a journal of another mode or base is of another copy.
    pub(super) fn binding(&self) -> String {
        match self {
            Self::Everything => "everything".to_owned(),
            Self::Changed(base, _) => format!("changes since {}", base.root()),
            Self::Compared(base) => format!("differences from {}", base.root()),
        }
    }
}

impl Base {
    /// What `volume` can be built on, and why not where it cannot. An initial replication builds on nothing but what it
    /// has copied itself.
    pub(super) fn of(
        state: Option<DiskState>,
        volume: &str,
        job: &JobRow,
    ) -> Result<Self, Option<&'static str>> {
        let is_own = |state: &DiskState| state.last_job.as_deref() == Some(&*job.id);
        if job.replication_type == ReplicationType::Initial && !state.as_ref().is_some_and(is_own) {
            return Err(None);
        }
        let state = state.ok_or(Some(
            "a full copy is needed, because this disk was not copied before",
        ))?;
        if state.volume_id.as_deref() != Some(volume) {
            return Err(Some(
                "a full copy is needed, because the disk has another volume than before",
            ));
        }
        if state.content == Content::Unknown {
            let reason =
                "a full copy is needed, because the last copy into the volume did not come to its end";
            return Err((!is_own(&state)).then_some(reason));
        }
        let damaged = Some("a full copy is needed, because the record of the last one is damaged");
        let root = state
            .digest
            .as_deref()
            .and_then(|text| text.parse().ok())
            .ok_or(damaged)?;
        let blocks = state.blocks.ok_or(damaged)?;
        let digest = DiskDigest::restore(&root, &blocks).ok_or(damaged)?;
        Ok(Self {
            digest,
            mark: state.change_id,
            capacity: state.capacity,
            is_being_updated: state.content == Content::Updating,
        })
    }

    /// The mark to ask the source for changes since, where that makes sense.
    pub(super) fn mark(&self, tracking: Tracking) -> Option<Mark> {
        let mark = self.mark.clone().filter(|_| tracking == Tracking::Believed)?;
        Some(Mark {
            mark,
            capacity: self.capacity,
        })
    }
}

/// How the disk is copied, and what is to be said of it.
pub(super) fn choose(
    base: Result<Base, Option<&'static str>>,
    changes: &Changes,
    disk: &FrozenDisk,
    tracking: Tracking,
) -> (Mode, Option<String>) {
    let base = match base {
        Ok(base) => base,
        Err(reason) => return (Mode::Everything, reason.map(str::to_owned)),
    };
    if base.digest.root().size != disk.capacity {
        let reason = format!(
            "a full copy is needed, because the disk's size changed from {} to {} bytes",
            base.digest.root().size,
            disk.capacity
        );
        return (Mode::Everything, Some(reason));
    }
    let reason = match changes {
        Changes::Since(ranges) if tracking == Tracking::Believed => {
            return (Mode::Changed(base.digest, Arc::clone(ranges)), None);
        }
        Changes::All {
            reason: Some(reason), ..
        } => reason.clone(),
        _ if tracking == Tracking::Distrusted => {
            "the whole disk is read and compared, because change tracking is not to be believed".to_owned()
        }
        _ => "a full copy is needed, because the source does not track this disk's changes".to_owned(),
    };
    match base.is_being_updated {
        // What an interrupted run wrote and has changed back since would not be seen.
        true => (Mode::Everything, Some(reason)),
        false => (Mode::Compared(base.digest), Some(reason)),
    }
}
