//! A machine that a worker holds frozen, and its disks on their way.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::wire::{Answer, Ask, Call, CallId, Octets, Order, Ranges, ScopeText, SenseError};
use super::remote::astray;
use super::{Delivery, Hub, new_call};
use crate::block::{BlockRead, Cancel, InitialContent, NbdUri};
use crate::source::{Category, Changes, Courier, Delivered, Errand, Frozen, FrozenDisk, Mark, SourceFailure};

/// How often it is looked whether a copy is to be stopped.
const LOOK: Duration = Duration::from_millis(50);
/// How long a worker may take to end a copy in order that is to be stopped: it makes durable what it wrote.
const ENDING: Duration = Duration::from_secs(10);

/// What a worker holds. Dropped, the worker lets go of it, and leaves at the source what is there.
pub(super) struct RemoteFrozen {
    hub: Hub,
    worker: String,
    host: String,
    job: Option<String>,
    id: CallId,
    disks: Vec<FrozenDisk>,
}

impl RemoteFrozen {
    /// What the call `freezing` will have frozen.
    pub(super) fn begin(hub: Hub, worker: &str, freezing: &Call) -> Self {
        hub.holds(freezing.id);
        Self {
            hub,
            worker: worker.to_owned(),
            host: freezing.host.clone(),
            job: freezing.job.clone(),
            id: freezing.id,
            disks: Vec::new(),
        }
    }

    pub(super) fn of(mut self, disks: Vec<FrozenDisk>) -> Self {
        self.disks = disks;
        self
    }

    async fn ask(&self, ask: Ask, delivery: Option<Arc<Delivery>>) -> Result<Answer, SourceFailure> {
        let mut call = new_call(&self.host, ask);
        call.job.clone_from(&self.job);
        self.hub.call(&self.worker, call, delivery).await
    }

    async fn done(&self, ask: Ask) -> Result<(), SourceFailure> {
        match self.ask(ask, None).await? {
            Answer::Done => Ok(()),
            _ => Err(astray(&self.worker)),
        }
    }

    fn order(&self, disk: &FrozenDisk, errand: &Errand, export: &NbdUri) -> Ask {
        let durable = errand.memory.as_ref().map(|(_, durable)| durable.to_bytes());
        Ask::Copy {
            frozen: self.id,
            disk: disk.id.clone(),
            order: Box::new(Order {
                scope: ScopeText::from(&errand.what),
                allocated: errand.allocated.as_deref().map(Ranges::from),
                export: export.export.clone(),
                target_size: errand.target_size,
                target_is_zero: errand.initial == InitialContent::Zero,
                digest: errand.digest,
                workers: errand.workers,
                durable: durable.map(|bytes| Octets::from(&*bytes)),
                rate: (errand.rate)(),
            }),
        }
    }
}

impl Drop for RemoteFrozen {
    fn drop(&mut self) {
        self.hub.lets_go(self.id);
    }
}

#[async_trait]
impl Frozen for RemoteFrozen {
    fn disks(&self) -> &[FrozenDisk] {
        &self.disks
    }

    async fn changes(&self, disk: &FrozenDisk, since: Option<&Mark>) -> Result<Changes, SourceFailure> {
        let ask = Ask::Changes {
            frozen: self.id,
            disk: disk.id.clone(),
            since: since.cloned(),
        };
        match self.ask(ask, None).await? {
            Answer::Changes(changes) => Ok(changes.changes(disk.capacity).map_err(senseless)?),
            _ => Err(astray(&self.worker)),
        }
    }

    async fn reader(
        &self,
        _disk: &FrozenDisk,
        _allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<Arc<dyn BlockRead>, SourceFailure> {
        let why = "what a worker holds is copied by the worker";
        Err(SourceFailure::new(Category::Other, why))
    }

    fn courier(&self) -> Option<&dyn Courier> {
        Some(self)
    }

    async fn check(&self) -> Result<(), SourceFailure> {
        self.done(Ask::Check { frozen: self.id }).await
    }

    async fn release(&self) -> Result<(), SourceFailure> {
        self.done(Ask::Release { frozen: self.id }).await
    }
}

#[async_trait]
impl Courier for RemoteFrozen {
    async fn deliver(
        &self,
        disk: &FrozenDisk,
        errand: Errand,
        cancel: &Cancel,
    ) -> Result<Delivered, SourceFailure> {
        let export: NbdUri = errand
            .export
            .parse()
            .map_err(|error| SourceFailure::new(Category::Other, error))?;
        let delivery = Arc::new(Delivery::new(&errand, &export));
        let answered = self.ask(self.order(disk, &errand, &export), Some(Arc::clone(&delivery)));
        tokio::pin!(answered);
        let answer = tokio::select! {
            answer = &mut answered => answer,
            () = raised(cancel) => {
                delivery.stop();
                let in_order = tokio::time::timeout(ENDING, &mut answered).await;
                in_order.unwrap_or_else(|_| Err(stopped()))
            }
        };
        delivery.close().await;
        match answer? {
            Answer::Copied { totals, digest } => {
                let digest = digest.digest().map_err(senseless)?;
                if digest.root().size != disk.capacity {
                    return Err(astray(&self.worker));
                }
                Ok(Delivered {
                    totals: totals.into(),
                    digest,
                })
            }
            _ => Err(astray(&self.worker)),
        }
    }
}

async fn raised(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}

fn stopped() -> SourceFailure {
    SourceFailure::new(Category::Other, "stopped on request")
}

fn senseless(error: SenseError) -> SourceFailure {
    SourceFailure::new(Category::Other, error)
}
