//! The work of a job: its turn in the VM's queue, its changes to the database, and the faults that strike on the way.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::cloud::Cloud;
use super::fault::{Drawn, Fault, Moment};
use super::job::JobState;
use super::refusal::Refusal;
use super::state::State;

/// A job at work.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) cloud: Arc<Cloud>,
    /// The life of the server in which it was taken.
    pub(super) life: u64,
    pub(super) job: Uuid,
    pub(super) faults: Drawn,
}

/// A place at the head of a VM's queue, until dropped; empty where it was taken away.
#[derive(Debug)]
pub(super) struct Turn {
    _held: Option<OwnedMutexGuard<()>>,
}

impl Work {
    /// Waits in the VM's queue, and begins.
    pub(super) async fn turn(&self, vm: Uuid) -> Result<Turn, Refusal> {
        let queue = self.commit(|state| Ok(Arc::clone(&state.vm(vm)?.queue)))?;
        let held = queue.lock_owned().await;
        self.begin(Some(held)).await
    }

    /// Begins work that no VM has to wait for.
    pub(super) async fn at_once(&self) -> Result<Turn, Refusal> {
        self.begin(None).await
    }

    async fn begin(&self, mut held: Option<OwnedMutexGuard<()>>) -> Result<Turn, Refusal> {
        if let Some(hold) = self.faults.slowness() {
            hold.wait().await;
        }
        let judged = self.faults.find(|fault| match fault {
            Fault::JudgedBlocking(hold) => Some(hold.clone()),
            _ => None,
        });
        if let Some(hold) = judged {
            self.end(JobState::Failed {
                code: 0,
                result: None,
            });
            held = None;
            hold.wait().await;
        }
        let failed = self.faults.find(|fault| match fault {
            Fault::FailInJob(code, text) => Some(Refusal {
                code: *code,
                class: None,
                text: text.clone(),
            }),
            _ => None,
        });
        match failed {
            Some(refusal) => Err(refusal),
            None => self.commit(|_| Ok(Turn { _held: held })),
        }
    }

    /// Changes the database, unless the server has died since the job was taken.
    pub(super) fn commit<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.cloud.state();
        if state.life != self.life {
            return Err(died());
        }
        change(&mut state)
    }

    /// Restarts the server where that was ordered for this moment; the job is over then.
    pub(super) fn pass(&self, moment: Moment) -> Result<(), Refusal> {
        if self
            .faults
            .has(|fault| matches!(fault, Fault::Restart(at) if *at == moment))
        {
            self.cloud.restart();
        }
        self.commit(|_| Ok(()))
    }

    pub(super) fn finish(&self, result: Result<Value, Refusal>) {
        self.end(match result {
            Ok(result) => JobState::Succeeded(result),
            Err(refusal) => JobState::Failed {
                code: refusal.code,
                result: Some(refusal.to_job_result()),
            },
        });
    }

    /// Ends the job, unless something ended it before.
    fn end(&self, ended: JobState) {
        let now = self.cloud.clock.now();
        let mut state = self.cloud.state();
        if state.life != self.life {
            return;
        }
        if let Some(job) = state.job(self.job).filter(|job| job.is_pending()) {
            job.state = ended;
            job.completed = Some(now);
        }
    }
}

/// Nobody reads this: the job of that life has its end already.
fn died() -> Refusal {
    Refusal::runtime("the management server died during the job")
}
