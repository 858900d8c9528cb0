//! Volumes: looking them up, making, growing and deleting them.

use std::time::Duration;

use super::classify::{self, Meaning, Setback};
use super::command::Command;
use super::error::Failure;
use super::jobs::Done;
use super::volume::{NAME_TAG, given_name, is_gone, is_id, provider_volume, state_of};
use super::{Inner, SIZE_UNIT, wire};
use crate::cloud::{Call, CloudError, NewVolume, ProviderState, ProviderVolume};
use crate::model::Bytes;

/// What the database of the server holds.
const LONGEST_NAME: usize = 255;
/// How long a deletion may take to be answered: it is the one change without a job, and waits for the storage.
const DELETION: Duration = Duration::from_secs(600);
/// How long a tag is waited for: it is decoration.
const TAGGING: Duration = Duration::from_secs(30);

impl Inner {
    pub(super) fn shown(&self, volume: &wire::Volume) -> ProviderVolume {
        provider_volume(volume, self.settings.identity)
    }

    /// Every volume of the account or project, ROOT disks included. Those that are gone for good are passed over, should
    /// the server list them.
    pub(super) async fn every_volume(&self) -> Result<Vec<wire::Volume>, CloudError> {
        self.find(Command::read("listVolumes"), "listing volumes").await
    }

    /// The volume of this id; `None` where there is none, or the text is no id.
    pub(super) async fn read(&self, id: &str) -> Result<Option<wire::Volume>, CloudError> {
        if !is_id(id) {
            return Ok(None);
        }
        let found = self.listed(Command::read("listVolumes").with("id", id)).await;
        match found {
            Ok(found) => Ok(found.into_iter().find(|volume| volume.id == id)),
            Err(failure) if failure.is_absence_of(id) => Ok(None),
            Err(failure) => Err(classify::reading(failure, &format!("reading volume {id}"))),
        }
    }

    /// The volumes of exactly this name; where there are none, those that we named so and somebody renamed.
    pub(super) async fn of_name(&self, name: &str) -> Result<Vec<wire::Volume>, CloudError> {
        if judge_name(name).is_err() {
            return Ok(Vec::new());
        }
        let doing = format!("looking for volume {name}");
        let named = Command::read("listVolumes").with("name", name);
        let mut found = self.find(named, &doing).await?;
        found.retain(|volume| volume.name == name);
        if found.is_empty() {
            let tagged = Command::read("listVolumes")
                .with("tags[0].key", NAME_TAG)
                .with("tags[0].value", name);
            found = self.find(tagged, &doing).await?;
            found.retain(|volume| given_name(volume) == name);
        }
        Ok(found)
    }

    async fn find(&self, command: Command, doing: &str) -> Result<Vec<wire::Volume>, CloudError> {
        let found = self.listed(command).await;
        found.map_err(|failure| classify::reading(failure, doing))
    }

    pub(super) async fn listed(&self, command: Command) -> Result<Vec<wire::Volume>, Failure> {
        let command = command.with_some("projectid", self.place.project.as_deref());
        let mut found: Vec<wire::Volume> = self.api.list(&command, "volume").await?;
        found.retain(|volume| !is_gone(volume));
        Ok(found)
    }

    /// The volume, which must be there.
    pub(super) async fn present(&self, id: &str) -> Result<wire::Volume, CloudError> {
        let found = self.read(id).await?;
        found
            .filter(|volume| state_of(volume) != ProviderState::Destroyed)
            .ok_or_else(|| absent(id))
    }

    /// The volume when nothing is at work on it. What is at work for this very call is waited for; anything else is in the
    /// way: a second job must not be queued behind it.
    pub(super) async fn at_rest(
        &self,
        call: &Call,
        id: &str,
        doing: &str,
    ) -> Result<wire::Volume, CloudError> {
        let mut volume = self.present(id).await?;
        if let Some(job) = volume.pending_job().filter(|job| self.jobs.is_of(call, job)) {
            // How it ended is told by the state.
            drop(self.follow(job).await);
            volume = self.present(id).await?;
        }
        match state_of(&volume) {
            ProviderState::Busy(what) => {
                Err(conflict(doing, format!("CloudStack is at work on it ({what})")))
            }
            ProviderState::Creating => Err(conflict(doing, "CloudStack is still making it".to_owned())),
            ProviderState::Unusable(why) => Err(conflict(doing, why)),
            _ => Ok(volume),
        }
    }

    /// What came of a change: the state of the volume decides, as far as it can. `reached` says whether the volume is as
    /// the change was to make it, or that it went another way.
    pub(super) async fn decided(
        &self,
        ended: Result<Done, Setback>,
        id: &str,
        doing: &str,
        reached: impl Fn(&wire::Volume) -> Result<bool, CloudError>,
    ) -> Result<(), CloudError> {
        let now = self.read(id).await;
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

    /// Makes a volume, or finds the one that an earlier sending made. Never sends a create blindly: CloudStack writes the
    /// volume down before it looks at the job's id, so a create that is sent twice makes two.
    pub(super) async fn create(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError> {
        let doing = format!("creating volume {}", spec.name);
        judge_name(&spec.name).map_err(|why| refused(&doing, why))?;
        self.judge_size(spec.size, &doing)?;
        let _one = self.locks.hold(&format!("name {}", spec.name)).await;
        if let Some(found) = self.made(spec, &doing).await? {
            return Ok(found);
        }
        let ended = match self.earlier(call, &doing).await? {
            Some(ended) => ended,
            None => self.run(call, self.creation(spec)).await,
        };
        match (self.made(spec, &doing).await, ended) {
            (Ok(Some(found)), _) => {
                self.tag(&found.provider_ref, &spec.name).await;
                Ok(found)
            }
            // The place was there when the daemon started.
            (Ok(None), Err(setback)) if setback.meaning == Meaning::NotFound => {
                Err(refused(&doing, setback.text()))
            }
            (Ok(None), Err(setback)) => Err(setback.into_error(&doing, &spec.name)),
            (Err(_), Err(setback)) => Err(setback.unverified().into_error(&doing, &spec.name)),
            (Ok(None), Ok(_)) => {
                let why = "the job ended well, and the volume is not listed";
                Err(Setback::unknown(why).into_error(&doing, &spec.name))
            }
            (Err(error), Ok(_)) => Err(Setback::unknown(error.to_string()).into_error(&doing, &spec.name)),
        }
    }

    fn creation(&self, spec: &NewVolume) -> Command {
        Command::change("createVolume")
            .with("name", &spec.name)
            .with("zoneid", &self.place.zone)
            .with("diskofferingid", &self.place.offering)
            .with("size", gibibytes(spec.size).to_string())
            .with_some("projectid", self.place.project.as_deref())
    }

    /// The volume that was made of `spec`, when nothing is at work on it any more. Of twins, which a request that was
    /// delivered twice would make, always the same one.
    async fn made(&self, spec: &NewVolume, doing: &str) -> Result<Option<ProviderVolume>, CloudError> {
        let mut found = self.of_name(&spec.name).await?;
        found.retain(|volume| state_of(volume) != ProviderState::Destroyed);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let Some(first) = found.first() else {
            return Ok(None);
        };
        if let [_, twins @ ..] = &found[..]
            && !twins.is_empty()
        {
            let ids: Vec<_> = found.iter().map(|volume| volume.id.as_str()).collect();
            tracing::warn!(
                name = spec.name,
                ?ids,
                "several volumes have one name; the first is used"
            );
        }
        let volume = match first.pending_job() {
            Some(job) => {
                drop(self.follow(job).await);
                self.read(&first.id).await?
            }
            None => Some(first.clone()),
        };
        // It may have gone with the job that was to make it.
        let Some(volume) = volume.filter(|volume| state_of(volume) != ProviderState::Destroyed) else {
            return Ok(None);
        };
        if Bytes(volume.size) != spec.size {
            let reason = format!("volume {} of that name has {} bytes", volume.id, volume.size);
            return Err(conflict(doing, reason));
        }
        match state_of(&volume) {
            ProviderState::Allocated | ProviderState::Ready => Ok(Some(self.shown(&volume))),
            other => Err(conflict(
                doing,
                format!("volume {} of that name is {other:?}", volume.id),
            )),
        }
    }

    /// Writes our name on the volume, so that it is found when somebody renames it. A volume without is as good.
    async fn tag(&self, id: &str, name: &str) {
        let command = Command::change("createTags")
            .with("resourceids", id)
            .with("resourcetype", "Volume")
            .with("tags[0].key", NAME_TAG)
            .with("tags[0].value", name);
        let tagging = async {
            let answer = self.api.call(&command).await.map_err(Setback::of_request)?;
            match answer.get("jobid").and_then(|job| job.as_str()) {
                Some(job) => self.follow(job).await.map(drop),
                None => Ok(()),
            }
        };
        match tokio::time::timeout(TAGGING, tagging).await {
            Ok(Ok(())) => {}
            Ok(Err(setback)) => tracing::warn!(volume = id, error = setback.text(), "the volume has no tag"),
            Err(_) => tracing::warn!(volume = id, "the volume's tag takes too long; not waited for"),
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

    fn judge_size(&self, size: Bytes, doing: &str) -> Result<(), CloudError> {
        if size == Bytes(0) || !size.is_multiple_of(SIZE_UNIT) {
            return Err(refused(doing, "sizes are whole gibibytes"));
        }
        if size > self.place.max_size {
            let most = gibibytes(self.place.max_size);
            return Err(refused(
                doing,
                format!("the cloud makes volumes of at most {most} GiB"),
            ));
        }
        Ok(())
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

/// Names are for people, and the server refuses control characters.
pub(super) fn judge_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err("names have 1 to 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("names have no control characters");
    }
    Ok(())
}

pub(super) fn gibibytes(size: Bytes) -> u64 {
    size.0 / SIZE_UNIT.0
}

pub(super) fn absent(id: &str) -> CloudError {
    CloudError::NotFound {
        what: format!("volume {id}"),
    }
}

pub(super) fn conflict(doing: &str, reason: String) -> CloudError {
    CloudError::Conflict {
        doing: doing.to_owned(),
        reason,
    }
}

pub(super) fn refused(doing: &str, reason: impl Into<String>) -> CloudError {
    CloudError::Refused {
        doing: doing.to_owned(),
        reason: reason.into(),
    }
}
