//! A disk that a worker beside its source copies: sent for, watched, and taken in.

use std::sync::Arc;

use super::choice::Mode;
use super::lane::Lane;
use super::{Attempt, ReplicationError};
use crate::block::{Cancel, InitialContent, LocalDisk};
use crate::pipeline::machine::{Doing, Watch};
use crate::pipeline::memory::Memory;
use crate::source::{Category, Courier, Delivered, Errand, SourceFailure, What};
use crate::transfer::Progress;

/// By whom a disk comes, and where to.
pub(super) struct Way<'a> {
    pub(super) courier: &'a dyn Courier,
    pub(super) export: &'a str,
    pub(super) initial: InitialContent,
}

impl Attempt<'_> {
    /// Has a disk copied into its export. The journal is ours: whichever worker goes on, it goes on from there.
    pub(super) async fn send(
        &self,
        lane: &Lane,
        way: Way<'_>,
        target: &LocalDisk,
        watch: &dyn Watch,
        cancel: &Cancel,
    ) -> Result<(Delivered, Option<Memory>), ReplicationError> {
        let memory = self.memory(lane, target)?;
        let progress = Arc::new(Progress::new());
        let errand = self.errand(lane, &way, target.size(), memory.as_ref(), &progress);
        watch.moving(Doing::Copying, &lane.disk.id, &progress);
        let delivered = way.courier.deliver(lane.frozen(), errand, cancel).await;
        watch.done();
        match delivered {
            Ok(delivered) => Ok((delivered, memory)),
            Err(_) if cancel.is_cancelled() => Err(ReplicationError::Cancelled),
            Err(failure) => Err(lost(lane, failure, &progress)),
        }
    }

    fn errand(
        &self,
        lane: &Lane,
        way: &Way<'_>,
        target_size: u64,
        memory: Option<&Memory>,
        progress: &Arc<Progress>,
    ) -> Errand {
        let settings = &self.replicator.settings;
        let (limit, board) = (self.rate.clone(), self.replicator.board.clone());
        Errand {
            what: match &lane.mode {
                Mode::Everything => What::Everything,
                Mode::Changed(base, ranges) => What::Changed(base.clone(), Arc::clone(ranges)),
                Mode::Compared(base) => What::Differing(base.clone()),
            },
            allocated: lane.allocated.clone(),
            export: way.export.to_owned(),
            target_size,
            initial: way.initial,
            digest: settings.digest,
            workers: settings.workers,
            memory: memory.map(|memory| (Arc::clone(&memory.journal), memory.durable.clone())),
            progress: Arc::clone(progress),
            // An equal share of the cap; what others do not use of theirs is not given away.
            rate: Arc::new(move || limit.get().map(|cap| cap / board.copies().max(1))),
        }
    }
}

/// Where something was moved before the worker went away, that is there.
fn lost(lane: &Lane, failure: SourceFailure, progress: &Progress) -> ReplicationError {
    let seen = progress.snapshot();
    match failure.category == Category::Away && seen.data_done + seen.bytes_zeroed > 0 {
        true => ReplicationError::Line {
            disk: lane.disk.label.clone(),
            source: failure,
        },
        false => failure.into(),
    }
}
