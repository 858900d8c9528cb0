//! Changing volumes: growing and deleting them, and what came of a change.

use std::time::Duration;

use super::bounds::gibibytes;
use super::classify::{Meaning, Setback};
use super::command::Command;
use super::error::{absent, conflict, refused};
use super::jobs::Done;
use super::volume::state_of;
use super::{Inner, wire};
use crate::cloud::{Call, CloudError, ProviderState};
use crate::model::Bytes;

/// How long a deletion may take to be answered: it is the one change without a job, and waits for the storage.
const DELETION: Duration = Duration::from_secs(600);

impl Inner {
    /// What came of a change: the state of the volume decides, as far as it can. `reached` says whether the volume is as
    /// the change was to make it, or that it went another way.
    pub(super) async fn decided(
        &self,
        ended: Result<Done, Setback>,
        id: &str,
        doing: &str,
        reached: impl Fn(&wire::Volume) -> Result<bool, CloudError>,
    ) -> Result<(), CloudError> {
        let now = match &ended {
            Ok(_) => {
                self.read_until(id, |volume| !matches!(reached(volume), Ok(false)))
                    .await
            }
            Err(_) => self.read(id).await,
        };
        let setback = match (ended, &now) {
            (Ok(done), Ok(Some(volume))) => {
                if let Some(other) = moved_to(&done, id) {
                    let why = format!("the job ended well, with another volume: {other} in place of {id}");
                    return Err(Setback::unknown(why).into_error(doing, id));
                }
                if reached(volume)? {
                    return Ok(());
                }
                Setback::unknown("the job ended well, and the volume does not show it")
            }
            (Ok(_), Ok(None)) => return Err(absent(id)),
            // The job itself said so; the next look will tell the rest.
            (Ok(_), Err(_)) => return Ok(()),
            (Err(setback), _) => setback,
        };
        match &now {
            Ok(Some(volume)) if volume.pending_job().is_some() => {
                Err(setback.in_doubt().into_error(doing, id))
            }
            Ok(Some(volume)) if reached(volume)? => Ok(()),
            Ok(Some(_)) => Err(setback.into_error(doing, &format!("what volume {id} is to be used with"))),
            Ok(None) => Err(absent(id)),
            Err(_) => Err(setback.unverified().into_error(doing, id)),
        }
    }

    /// Grows a volume. The size is the new total, so that a repetition is harmless.
    pub(super) async fn grow(&self, call: &Call, id: &str, size: Bytes) -> Result<(), CloudError> {
        let doing = format!("resizing volume {id} to {size}");
        self.judge_size(size, &doing)?;
        let _one = self.locks.hold(id).await;
        let volume = self.at_rest(call, id, &doing).await?;
        if size < Bytes(volume.size) {
            return Err(refused(
                &doing,
                format!("it has {} bytes, and volumes never shrink", volume.size),
            ));
        }
        if size == Bytes(volume.size) {
            return Ok(());
        }
        let command = Command::change("resizeVolume")
            .with("id", id)
            .with("size", gibibytes(size).to_string());
        let ended = self.run(call, command).await;
        self.decided(ended, id, &doing, |volume| Ok(Bytes(volume.size) == size))
            .await
    }

    /// Deletes a volume. Whatever the server says, the state decides: its one code for every wrong value stands for "does
    /// not exist" and for "is attached".
    pub(super) async fn delete(&self, call: &Call, id: &str) -> Result<(), CloudError> {
        let doing = format!("deleting volume {id}");
        let _one = self.locks.hold(id).await;
        let volume = match self.at_rest(call, id, &doing).await {
            Err(CloudError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        if let Some(vm) = &volume.virtualmachineid {
            return Err(conflict(&doing, format!("it is attached to VM {vm}")));
        }
        let snapshots = self.snapshots_of(id, &doing).await?;
        if !snapshots.is_empty() {
            return Err(conflict(&doing, format!("it has {} snapshots", snapshots.len())));
        }
        let command = Command::change("deleteVolume").with("id", id).within(DELETION);
        let failure = match self.api.call(&command).await {
            Ok(answer) if is_false(answer.get("success")) => {
                Setback::unknown("CloudStack could not delete it")
            }
            Ok(_) => return Ok(()),
            Err(failure) => Setback::of_request(failure),
        };
        match self.read(id).await {
            Ok(None) => Ok(()),
            Ok(Some(now)) if state_of(&now) == ProviderState::Destroyed => Ok(()),
            // It was refused for good and is there: nothing happened.
            Ok(Some(_)) if failure.meaning == Meaning::NotFound => Err(conflict(&doing, failure.text())),
            _ => Err(failure.into_error(&doing, id)),
        }
    }
}

/// The id of the volume that a job left, where that is another than the one it was about.
fn moved_to(done: &Done, id: &str) -> Option<String> {
    let other = done.result.as_ref()?.get("volume")?.get("id")?.as_str()?;
    (other != id).then(|| other.to_owned())
}

/// `success` is a truth value, or one written out.
pub(super) fn is_false(success: Option<&serde_json::Value>) -> bool {
    success.is_some_and(|value| value == &serde_json::Value::Bool(false) || value == "false")
}
