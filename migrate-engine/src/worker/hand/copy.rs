//! A disk from its source through the tunnel into its export; what became durable and how far it is are told meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::super::wire::{Answer, CallId, DigestText, Moved, Order};
use super::line::{Line, LineError};
use super::senseless;
use crate::block::nbd::NbdEndpoint;
use crate::block::{BlockError, BlockRead, Cancel, InitialContent, NbdError, NbdExport, NbdOptions, NbdUri};
use crate::model::chain;
use crate::source::{Category, Frozen, FrozenDisk, SourceFailure, What};
use crate::transfer::{
    Copy, CopyOptions, CopyReport, Covered, Durable, Progress, RateLimit, Recorder, TransferError,
};

/// How often it is told how far a copy is.
const PACE: Duration = Duration::from_millis(500);
/// How long a checkpoint is tried to be told before the copy goes on without.
const TELLING: Duration = Duration::from_secs(15);

/// Copies a disk as it was ordered.
pub(super) async fn copy(
    line: &Arc<Line>,
    call: CallId,
    frozen: &dyn Frozen,
    disk: &FrozenDisk,
    order: Order,
    cancel: &Cancel,
) -> Result<Answer, SourceFailure> {
    let capacity = disk.capacity;
    let allocated = order.allocated.map(|ranges| ranges.within(capacity));
    let allocated = allocated.transpose().map_err(senseless)?;
    let reader = frozen.reader(disk, allocated).await?;
    let durable = order
        .durable
        .map(|bytes| bytes.bytes())
        .transpose()
        .map_err(senseless)?;
    let durable = durable.map(|bytes| {
        Durable::from_bytes(&bytes, capacity, order.target_size)
            .ok_or_else(|| SourceFailure::new(Category::Other, "the journal of the service makes no sense"))
    });
    let writer = NbdOptions {
        connections: order.workers,
        most_depth: crate::block::nbd::depth_for(order.workers),
        initial_content: match order.target_is_zero {
            true => InitialContent::Zero,
            false => InitialContent::Unknown,
        },
        tunnel: Some(line.tunnel(call)),
        ..NbdOptions::default()
    };
    let (host, port) = line.host();
    let target = NbdUri {
        endpoint: NbdEndpoint::Tcp {
            host: host.to_owned(),
            port,
        },
        export: order.export,
        tls: None,
    };
    let rate = RateLimit::new(order.rate);
    let options = CopyOptions {
        workers: order.workers,
        digest: order.digest,
        rate: rate.clone(),
        ..CopyOptions::default()
    };
    let job = Job {
        reader,
        target,
        writer,
        what: order.scope.what(capacity).map_err(senseless)?,
        durable: durable.transpose()?,
        options,
        notes: Notes {
            line: Arc::clone(line),
            call,
            runtime: Handle::current(),
            cancel: cancel.clone(),
        },
    };
    let progress = Arc::new(Progress::new());
    let followed = tell_progress(line, call, &progress, &rate, cancel);
    let (of, stop) = (Arc::clone(&progress), cancel.clone());
    let copied = spawn_blocking(move || job.run(&of, &stop));
    let report = tokio::select! {
        copied = copied => copied.map_err(|_| SourceFailure::new(Category::Other, "a thread of the worker panicked: its log says where"))?,
        never = followed => match never {},
    }?;
    Ok(Answer::Copied {
        totals: report.totals.into(),
        digest: DigestText::from(&report.digest),
    })
}

/// A copy that blocks.
struct Job {
    reader: Arc<dyn BlockRead>,
    target: NbdUri,
    writer: NbdOptions,
    what: What,
    durable: Option<Durable>,
    options: CopyOptions,
    notes: Notes,
}

impl Job {
    fn run(&self, progress: &Progress, cancel: &Cancel) -> Result<CopyReport, SourceFailure> {
        let writer = NbdExport::connect(self.target.clone(), self.writer.clone());
        let writer = writer.map_err(|error| of_line(BlockError::from(error)))?;
        let copy = Copy::new(&*self.reader, &writer, &self.options);
        let copy = match &self.what {
            What::Everything => copy,
            What::Changed(base, ranges) => copy.changed(base, ranges),
            What::Differing(base) => copy.differing(base),
        };
        let copy = match &self.durable {
            Some(durable) => copy.remembered(&self.notes, durable),
            None => copy,
        };
        copy.run(progress, cancel).map_err(failed)
    }
}

/// The service's journal, from here.
struct Notes {
    line: Arc<Line>,
    call: CallId,
    runtime: Handle,
    cancel: Cancel,
}

impl Recorder for Notes {
    fn record(&self, covered: &Covered<'_>) {
        let (bytes, until) = (covered.to_bytes(), Instant::now() + TELLING);
        loop {
            match self
                .runtime
                .block_on(self.line.checkpoint(self.call, bytes.clone()))
            {
                Ok(()) => return,
                Err(LineError::Gone) => return self.cancel.cancel(),
                Err(error) if Instant::now() >= until || self.cancel.is_cancelled() => {
                    return tracing::warn!(call = %self.call, error = chain(&error),
                        "what is durable cannot be told: a copy that is interrupted now begins again from here");
                }
                Err(_) => self.runtime.block_on(tokio::time::sleep(PACE)),
            }
        }
    }
}

/// Tells how far the copy is, and follows what the service says of it, for as long as this is waited for.
async fn tell_progress(
    line: &Line,
    call: CallId,
    progress: &Arc<Progress>,
    rate: &RateLimit,
    cancel: &Cancel,
) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(PACE).await;
        match line.progress(call, &Moved::from(&progress.snapshot())).await {
            Ok(steer) => {
                if rate.get() != steer.rate.map(|rate| rate.max(1)) {
                    rate.set(steer.rate);
                }
                if steer.is_to_end {
                    cancel.cancel();
                }
            }
            Err(LineError::Gone) => cancel.cancel(),
            Err(error) => tracing::debug!(%call, error = chain(&error), "cannot tell how far a copy is"),
        }
    }
}

fn failed(error: TransferError) -> SourceFailure {
    let is_line = match &error {
        TransferError::Open { side, source } => *side == "target" && is_about_line(source),
        TransferError::Write { source, .. }
        | TransferError::Zero { source, .. }
        | TransferError::Flush { source } => is_about_line(source),
        _ => false,
    };
    let category = match is_line {
        true => Category::Away,
        false => Category::Other,
    };
    SourceFailure::new(category, error)
}

fn of_line(error: BlockError) -> SourceFailure {
    let category = match is_about_line(&error) {
        true => Category::Away,
        false => Category::Other,
    };
    SourceFailure::new(category, error)
}

/// Whether the way to the export was lost, and not the export itself.
fn is_about_line(error: &BlockError) -> bool {
    matches!(
        error,
        BlockError::Nbd(
            NbdError::Connect { .. }
                | NbdError::NoAddress { .. }
                | NbdError::Transport { .. }
                | NbdError::Lost { .. }
                | NbdError::Closed
                | NbdError::Silent { .. }
                | NbdError::Tls { .. }
                | NbdError::Tunnel { .. }
        )
    )
}
