//! Making a volume: looked for first, made once, and found again whatever was answered.

use std::time::Duration;

use super::Inner;
use super::bounds::{gibibytes, judge_name};
use super::classify::{Meaning, Setback};
use super::command::Command;
use super::error::{conflict, refused};
use super::volume::{NAME_TAG, state_of};
use crate::cloud::{Call, CloudError, NewVolume, ProviderState, ProviderVolume};
use crate::model::Bytes;

/// How long a tag is waited for: it is decoration.
const TAGGING: Duration = Duration::from_secs(30);

impl Inner {
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
        let ended = self.run(call, self.creation(spec)).await;
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
}
