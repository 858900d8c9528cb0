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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DigestKind, JobStatus};
    use crate::transfer::RootDigest;

    const SIZE: u64 = 2 << 20;

    /// The digest of a disk that was copied.
    fn digest() -> DiskDigest {
        let blocks = vec![7; 32];
        let of = |root| RootDigest {
            kind: DigestKind::Xxh3,
            size: SIZE,
            root,
        };
        let root = crate::transfer::root_of(DigestKind::Xxh3, SIZE, &blocks);
        DiskDigest::restore(&of(root), &blocks).unwrap()
    }

    fn state(content: Content) -> DiskState {
        DiskState {
            disk_id: "disk-2000".to_owned(),
            volume_id: Some("v".to_owned()),
            content,
            change_id: Some("u/1".to_owned()),
            capacity: SIZE,
            digest: Some(digest().root().to_string()),
            blocks: Some(digest().to_bytes()),
            last_job: Some("job-before".to_owned()),
        }
    }

    fn job(kind: ReplicationType) -> JobRow {
        JobRow {
            id: "job-now".to_owned(),
            context: 1,
            request: String::new(),
            replication_type: kind,
            status: JobStatus::Running,
            phase: String::new(),
            cancel_requested: false,
            attempts: 1,
            error: None,
            error_code: None,
            hint: None,
            notes: Vec::new(),
            created_at: String::new(),
            started_at: None,
            updated_at: String::new(),
            completed_at: None,
        }
    }

    fn disk(capacity: u64) -> FrozenDisk {
        FrozenDisk {
            id: "disk-2000".to_owned(),
            label: "Hard disk 1".to_owned(),
            capacity,
            mark: Some("u/2".to_owned()),
            content: None,
        }
    }

    fn since() -> Changes {
        Changes::Since(std::iter::once(0..512).collect())
    }

    fn all(reason: Option<&str>) -> Changes {
        Changes::All {
            reason: reason.map(str::to_owned),
            allocated: None,
        }
    }

    /// What comes of a state, of what the source tells, and of whether that is believed.
    fn chosen(
        state: Option<DiskState>,
        kind: ReplicationType,
        changes: &Changes,
        tracking: Tracking,
    ) -> (&'static str, Option<String>) {
        let base = Base::of(state, "v", &job(kind));
        let (mode, reason) = choose(base, changes, &disk(SIZE), tracking);
        (mode.as_str(), reason)
    }

    #[test]
    fn changes_are_copied_only_onto_what_they_are_changes_of() {
        use ReplicationType::Incremental;
        use Tracking::Believed;
        for content in [Content::Equal, Content::Updating] {
            let found = chosen(Some(state(content)), Incremental, &since(), Believed);
            assert_eq!(found, ("changed", None));
        }
        let elsewhere = DiskState {
            volume_id: Some("other".to_owned()),
            ..state(Content::Equal)
        };
        let damaged = DiskState {
            blocks: Some(vec![8; 32]),
            ..state(Content::Equal)
        };
        let refused = [
            None,
            Some(state(Content::Unknown)),
            Some(elsewhere),
            Some(damaged),
        ];
        for state in refused {
            let (mode, reason) = chosen(state, Incremental, &since(), Believed);
            assert_eq!(mode, "everything");
            assert!(reason.unwrap().contains("full copy"));
        }
    }

    #[test]
    fn a_comparison_begins_only_from_what_is_surely_equal() {
        use ReplicationType::Incremental;
        let reset = all(Some("it was reset"));
        let from = |content, changes: &Changes, tracking| {
            chosen(Some(state(content)), Incremental, changes, tracking)
        };
        let believed = from(Content::Equal, &reset, Tracking::Believed);
        assert_eq!(believed, ("compared", Some("it was reset".to_owned())));
        let half = from(Content::Updating, &reset, Tracking::Believed);
        assert_eq!(half, ("everything", Some("it was reset".to_owned())));
        let (mode, reason) = from(Content::Equal, &all(None), Tracking::Distrusted);
        assert_eq!(mode, "compared");
        assert!(reason.unwrap().contains("not to be believed"));
        let (mode, _) = from(Content::Equal, &all(None), Tracking::Believed);
        assert_eq!(mode, "compared");
    }

    #[test]
    fn an_initial_replication_builds_on_its_own_work_alone() {
        use ReplicationType::Initial;
        use Tracking::Believed;
        let strange = chosen(Some(state(Content::Equal)), Initial, &since(), Believed);
        assert_eq!(strange, ("everything", None));
        let own = |content| DiskState {
            last_job: Some("job-now".to_owned()),
            ..state(content)
        };
        let done = chosen(Some(own(Content::Equal)), Initial, &since(), Believed);
        assert_eq!(done, ("changed", None));
        let half = chosen(Some(own(Content::Unknown)), Initial, &since(), Believed);
        assert_eq!(half, ("everything", None));
    }

    #[test]
    fn a_disk_of_another_size_is_copied_whole_and_a_distrusted_source_is_not_asked() {
        let base = Base::of(
            Some(state(Content::Equal)),
            "v",
            &job(ReplicationType::Incremental),
        );
        assert!(base.as_ref().unwrap().mark(Tracking::Believed).is_some());
        assert_eq!(base.as_ref().unwrap().mark(Tracking::Distrusted), None);
        let (mode, reason) = choose(base, &since(), &disk(SIZE + 512), Tracking::Believed);
        assert_eq!(mode.as_str(), "everything");
        assert!(reason.unwrap().contains("size changed"));
    }
}
