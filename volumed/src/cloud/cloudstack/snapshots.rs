//! Snapshots of volumes: found by name before one is taken, ready once they are on secondary storage.

use super::bounds::judge_name;
use super::classify::{self, Setback};
use super::command::Command;
use super::error::{conflict, refused};
use super::volume::is_id;
use super::volumes::is_false;
use super::{Inner, wire};
use crate::cloud::{Call, CloudError, ProviderSnapshot};
use crate::model::Bytes;

/// What a snapshot's state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// A volume can be reverted to it.
    Ready,
    /// It is being taken.
    Coming,
    /// It came to nothing, and takes up its name until it is deleted.
    Broken,
    /// It is deleted.
    Gone,
}

impl Inner {
    pub(super) async fn list_snapshots(&self, id: &str) -> Result<Vec<ProviderSnapshot>, CloudError> {
        let volume = self.present(id).await?;
        let found = self
            .snapshots_of(id, &format!("listing snapshots of volume {id}"))
            .await?;
        Ok(found.iter().map(|snapshot| shown(snapshot, &volume)).collect())
    }

    /// The snapshots of a volume, broken ones too: they are in the way of its deletion.
    pub(super) async fn snapshots_of(
        &self,
        id: &str,
        doing: &str,
    ) -> Result<Vec<wire::Snapshot>, CloudError> {
        let command = Command::read("listSnapshots")
            .with("volumeid", id)
            .with_some("projectid", self.place.project.as_deref());
        let mut found: Vec<wire::Snapshot> = match self.api.list(&command, "snapshot").await {
            Ok(found) => found,
            Err(failure) if failure.is_absence_of(id) => Vec::new(),
            Err(failure) => return Err(classify::reading(failure, doing)),
        };
        // One that says nothing is taken for the volume's: that keeps the volume from being deleted.
        found.retain(|snapshot| snapshot.volumeid.as_deref().is_none_or(|volume| volume == id));
        found.retain(|snapshot| life(&snapshot.state) != Life::Gone);
        Ok(found)
    }

    async fn snapshot(
        &self,
        volume: &str,
        id: &str,
        doing: &str,
    ) -> Result<Option<wire::Snapshot>, CloudError> {
        if !is_id(id) {
            return Ok(None);
        }
        let found = self.snapshots_of(volume, doing).await?;
        Ok(found.into_iter().find(|snapshot| snapshot.id == id))
    }

    /// Takes a snapshot, unless one of that name is there. CloudStack would take a second one of the same name.
    pub(super) async fn take_snapshot(
        &self,
        call: &Call,
        id: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError> {
        let doing = format!("taking snapshot {name} of volume {id}");
        let _one = self.locks.hold(id).await;
        let volume = self.at_rest(call, id, &doing).await?;
        judge_name(name).map_err(|why| refused(&doing, why))?;
        if let Some(found) = self.snapshot_named(id, name, &doing).await? {
            match life(&found.state) {
                Life::Ready => return Ok(shown(&found, &volume)),
                Life::Coming | Life::Gone => return Err(conflict(&doing, format!("it is {}", found.state))),
                Life::Broken => self.discard(&found.id, &doing).await?,
            }
        }
        let command = Command::change("createSnapshot")
            .with("volumeid", id)
            .with("name", name);
        let ended = self.run(call, command).await;
        let taken = self.snapshot_named(id, name, &doing).await;
        match (taken, ended) {
            (Ok(Some(found)), _) if life(&found.state) == Life::Ready => Ok(shown(&found, &volume)),
            (_, Err(setback)) => Err(setback.into_error(&doing, &format!("volume {id}"))),
            (_, Ok(_)) => {
                let why = "the job ended well, and the snapshot is not ready (is `snapshot.backup.to.secondary` on?)";
                Err(Setback::unknown(why).into_error(&doing, name))
            }
        }
    }

    /// The snapshot of that name; of several the same one each time, a ready one first.
    async fn snapshot_named(
        &self,
        id: &str,
        name: &str,
        doing: &str,
    ) -> Result<Option<wire::Snapshot>, CloudError> {
        let found = self.snapshots_of(id, doing).await?;
        let named = found.into_iter().filter(|snapshot| snapshot.name == name);
        Ok(named.min_by_key(|snapshot| (life(&snapshot.state) != Life::Ready, snapshot.id.clone())))
    }

    pub(super) async fn revert(&self, call: &Call, id: &str, snapshot: &str) -> Result<(), CloudError> {
        let doing = format!("reverting volume {id} to snapshot {snapshot}");
        let _one = self.locks.hold(id).await;
        let volume = self.at_rest(call, id, &doing).await?;
        let found = self
            .snapshot(id, snapshot, &doing)
            .await?
            .ok_or_else(|| CloudError::NotFound {
                what: format!("snapshot {snapshot}"),
            })?;
        if let Some(vm) = &volume.virtualmachineid {
            return Err(conflict(&doing, format!("it is attached to VM {vm}")));
        }
        if life(&found.state) != Life::Ready {
            return Err(conflict(&doing, format!("the snapshot is {}", found.state)));
        }
        let ended = self
            .run(call, Command::change("revertSnapshot").with("id", snapshot))
            .await;
        // The state does not tell whether the content came back: only the job does.
        ended
            .map(drop)
            .map_err(|setback| setback.into_error(&doing, &format!("snapshot {snapshot}")))
    }

    pub(super) async fn remove_snapshot(
        &self,
        call: &Call,
        id: &str,
        snapshot: &str,
    ) -> Result<(), CloudError> {
        let doing = format!("deleting snapshot {snapshot} of volume {id}");
        if !is_id(id) {
            return Ok(());
        }
        let _one = self.locks.hold(id).await;
        if self.snapshot(id, snapshot, &doing).await?.is_none() {
            return Ok(());
        }
        match self.at_rest(call, id, &doing).await {
            // Snapshots outlive their volume.
            Ok(_) | Err(CloudError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let ended = self
            .run(call, Command::change("deleteSnapshot").with("id", snapshot))
            .await;
        match (ended, self.snapshot(id, snapshot, &doing).await) {
            (_, Ok(None)) => Ok(()),
            (Err(setback), _) => Err(setback.into_error(&doing, &format!("snapshot {snapshot}"))),
            (Ok(done), _)
                if !done
                    .result
                    .as_ref()
                    .is_some_and(|result| is_false(result.get("success"))) =>
            {
                Ok(())
            }
            (Ok(_), _) => Err(conflict(&doing, "CloudStack could not delete it".to_owned())),
        }
    }

    /// Takes away what a snapshot that failed has left.
    async fn discard(&self, snapshot: &str, doing: &str) -> Result<(), CloudError> {
        let command = Command::change("deleteSnapshot").with("id", snapshot);
        let answer = self.api.call(&command).await.map_err(Setback::of_request);
        let ended = match answer {
            Ok(answer) => match answer.get("jobid").and_then(|job| job.as_str()) {
                Some(job) => self.follow(job).await.map(drop),
                None => Ok(()),
            },
            Err(setback) => Err(setback),
        };
        ended.map_err(|setback| {
            conflict(
                doing,
                format!("a broken snapshot of that name is in the way: {}", setback.text()),
            )
        })
    }
}

fn shown(snapshot: &wire::Snapshot, volume: &wire::Volume) -> ProviderSnapshot {
    ProviderSnapshot {
        snapshot_ref: snapshot.id.clone(),
        name: snapshot.name.clone(),
        size: Bytes(snapshot.virtualsize.unwrap_or(volume.size)),
        ready: life(&snapshot.state) == Life::Ready,
    }
}

/// `CreatedOnPrimary` is not ready: its copy to secondary storage, which a revert needs, is still to come.
fn life(state: &str) -> Life {
    match state {
        "BackedUp" => Life::Ready,
        "Destroying" | "Destroyed" => Life::Gone,
        "Error" => Life::Broken,
        _ => Life::Coming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_snapshot_on_secondary_storage_is_ready() {
        for (state, expected) in [
            ("BackedUp", Life::Ready),
            ("CreatedOnPrimary", Life::Coming),
            ("BackingUp", Life::Coming),
            ("Allocated", Life::Coming),
            ("SomethingNew", Life::Coming),
            ("Error", Life::Broken),
            ("Destroyed", Life::Gone),
        ] {
            assert_eq!(life(state), expected, "{state}");
        }
    }
}
