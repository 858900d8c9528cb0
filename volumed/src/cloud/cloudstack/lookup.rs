//! Finding volumes: by id, by name, all of them; and waiting until nothing is at work on one.

use super::bounds::judge_name;
use super::command::Command;
use super::error::{Failure, absent, conflict};
use super::volume::{NAME_TAG, given_name, is_gone, is_id, provider_volume, state_of};
use super::{Inner, classify, wire};
use crate::cloud::{Call, CloudError, ProviderState, ProviderVolume};

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
}
