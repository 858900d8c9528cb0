//! Finding volumes: by id, by name, all of them; and waiting until nothing is at work on one.

use std::time::Duration;

use super::bounds::judge_name;
use super::command::Command;
use super::error::{Failure, absent, conflict};
use super::volume::{NAME_TAG, given_name, is_gone, is_id, provider_volume, state_of};
use super::wire::PENDING;
use super::{Inner, classify, wire};
use crate::cloud::{Call, CloudError, ProviderState, ProviderVolume};

/// How often a volume is read before it is believed that it does not show what it should.
const READINGS: u32 = 5;
/// No pause between two readings is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
    /// way: a second job must not be queued behind it. A list may be a moment old, so what only the list shows is looked at
    /// again before it is believed.
    pub(super) async fn at_rest(
        &self,
        call: &Call,
        id: &str,
        doing: &str,
    ) -> Result<wire::Volume, CloudError> {
        let mut at_work = String::new();
        for reading in 0..READINGS {
            let volume = self.present(id).await?;
            at_work = match state_of(&volume) {
                ProviderState::Busy(what) => what,
                ProviderState::Creating => "Creating".to_owned(),
                ProviderState::Unusable(why) => return Err(conflict(doing, why)),
                _ => return Ok(volume),
            };
            match volume.pending_job() {
                // How it ends is told by the state.
                Some(job) if self.jobs.is_of(call, job) => drop(self.follow(job).await),
                Some(job) if !self.has_ended(job).await => break,
                _ => self.pause_before(reading).await,
            }
        }
        Err(conflict(
            doing,
            format!("CloudStack is at work on it ({at_work})"),
        ))
    }

    /// Reads the volume until it shows something that is so already, or has not shown it a few times over.
    pub(super) async fn read_until(
        &self,
        id: &str,
        shows: impl Fn(&wire::Volume) -> bool,
    ) -> Result<Option<wire::Volume>, CloudError> {
        let mut volume = self.read(id).await?;
        for reading in 1..READINGS {
            if volume.as_ref().is_none_or(&shows) {
                break;
            }
            self.pause_before(reading).await;
            volume = self.read(id).await?;
        }
        Ok(volume)
    }

    pub(super) async fn pause_before(&self, reading: u32) {
        let pause = self.settings.poll_interval * 2_u32.pow(reading);
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }

    /// Whether the server itself says that the job has ended. One that we may not see has not.
    async fn has_ended(&self, job: &str) -> bool {
        matches!(self.job(job).await, Ok(Some(job)) if job.jobstatus != PENDING)
    }
}
