//! An operation as a patient caller has it done: asked for until it is taken, followed to its end, never given up.

use std::time::{Duration, Instant};

use volume_client::client::{ClientError, IdempotencyKey, VolumedClient};
use volume_client::types::{
    AttachVolume, ErrorCode, NewVolume, Operation, OperationStatus, ResizeVolume, VolumeId,
};

use super::PAUSE;
use super::scene::Scene;
use super::tally::add;

/// Within this time every operation has ended: longer than the daemon waits for a cloud, and as long again to undo.
pub(super) const BOUND: Duration = Duration::from_secs(240);

/// An operation that goes on for longer than this is told of at once, for whoever watches.
const SLOW: Duration = Duration::from_secs(60);

/// An operation that goes on for longer than this without a new step says what it waits for.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a request may find nobody who takes it: a daemon that was killed comes up within that.
const AWAY: Duration = Duration::from_secs(90);

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Create(NewVolume),
    Attach(VolumeId),
    Detach(VolumeId),
    Resize(VolumeId, u64),
    Delete(VolumeId, String),
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Outcome {
    Completed(Box<Operation>),
    /// It failed and is undone, or it was refused, with this code.
    Failed(ErrorCode),
    /// It did not end, or nobody took it; noted as a violation.
    Lost,
}

/// Where an operation was when it last moved.
struct Progress {
    steps: usize,
    at: Instant,
    was_noted: bool,
    was_told: bool,
}

impl Order {
    fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Attach(_) => "attach",
            Self::Detach(_) => "detach",
            Self::Resize(..) => "resize",
            Self::Delete(..) => "delete",
        }
    }

    async fn submit(&self, client: &VolumedClient, vm_id: &str) -> Result<Operation, ClientError> {
        match self {
            Self::Create(new) => client.create_volume(new).await,
            Self::Attach(id) => {
                let vm_id = vm_id.to_owned();
                client.attach_volume(*id, &AttachVolume { vm_id }).await
            }
            Self::Detach(id) => client.detach_volume(*id).await,
            Self::Resize(id, size_bytes) => {
                let size_bytes = *size_bytes;
                client.resize_volume(*id, &ResizeVolume { size_bytes }).await
            }
            Self::Delete(id, name) => client.delete_volume(*id, Some(name)).await,
        }
    }
}

impl Scene<'_> {
    /// Has an order carried out, across deaths of the daemon, and counts how it ended.
    pub(super) async fn carry_out(&self, order: Order) -> Outcome {
        let began = Instant::now();
        let outcome = match self.submit(&order).await {
            Ok(operation) => self.follow(operation).await,
            Err(outcome) => outcome,
        };
        let end = match &outcome {
            Outcome::Completed(_) => "completed",
            Outcome::Failed(code) => code.as_str(),
            Outcome::Lost => "lost",
        };
        if let Outcome::Failed(code @ (ErrorCode::Internal | ErrorCode::StoreFull)) = outcome {
            self.tally
                .violated(format!("{order:?} ended with the code {code}"));
        }
        self.tally.count(|figures| {
            add(&mut figures.operations, format!("{} {end}", order.kind()));
            figures.longest = figures.longest.max(began.elapsed());
        });
        outcome
    }

    /// Asks under one key until the order is taken or refused.
    async fn submit(&self, order: &Order) -> Result<Operation, Outcome> {
        let client = self.client.with_idempotency_key(IdempotencyKey::fresh());
        let vm = self.vm().to_string();
        let began = Instant::now();
        loop {
            let error = match order.submit(&client, &vm).await {
                Ok(operation) => return Ok(operation),
                Err(error) => error,
            };
            match error.code() {
                Some(ErrorCode::NotReady | ErrorCode::OperationInProgress) | None => {}
                Some(code) => return Err(Outcome::Failed(code)),
            }
            if began.elapsed() > AWAY {
                self.tally
                    .violated(format!("nobody took {order:?} within {AWAY:?}: {error:?}"));
                return Err(Outcome::Lost);
            }
            tokio::time::sleep(PAUSE * 3).await;
        }
    }

    async fn follow(&self, mut operation: Operation) -> Outcome {
        let began = Instant::now();
        let mut progress = Progress {
            steps: 0,
            at: began,
            was_noted: false,
            was_told: false,
        };
        while !operation.status.is_final() {
            if began.elapsed() > SLOW && !progress.was_told {
                progress.was_told = true;
                eprintln!("slow: {operation:?}");
            }
            if began.elapsed() > BOUND {
                self.tally
                    .violated(format!("not ended within {BOUND:?}: {operation:?}"));
                return Outcome::Lost;
            }
            tokio::time::sleep(PAUSE).await;
            match self.client.operation(operation.id).await {
                Ok(seen) => operation = seen,
                // Dead or coming up: nobody can say anything.
                Err(error) if error.code().is_none_or(|code| code == ErrorCode::NotReady) => {
                    progress.at = Instant::now();
                }
                Err(error) => {
                    let lost = format!("an operation that was taken is lost: {operation:?}: {error}");
                    self.tally.violated(lost);
                    return Outcome::Lost;
                }
            }
            self.watch(&operation, &mut progress);
        }
        match operation.status {
            OperationStatus::Completed => Outcome::Completed(Box::new(operation)),
            _ => Outcome::Failed(operation.error_code.unwrap_or(ErrorCode::Internal)),
        }
    }

    /// Notes an operation that neither moves nor says what it waits for.
    fn watch(&self, operation: &Operation, progress: &mut Progress) {
        if operation.error.is_some() || operation.steps.len() != progress.steps {
            (progress.steps, progress.at) = (operation.steps.len(), Instant::now());
        }
        if progress.at.elapsed() > SILENCE && !progress.was_noted {
            progress.was_noted = true;
            self.tally.violated(format!(
                "neither moves nor says what it waits for, for {SILENCE:?}: {operation:?}"
            ));
        }
    }
}
