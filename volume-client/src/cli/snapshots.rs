//! `volumectl snapshots`.

use futures_util::TryStreamExt;

use super::Session;
use super::args::SnapshotsVerb;
use super::failure::Failure;
use super::measure::human_size;
use super::table::{Table, plain, time, word};
use crate::types::{NewSnapshot, Snapshot};

impl Session {
    pub(super) async fn snapshots(&self, verb: SnapshotsVerb) -> Result<(), Failure> {
        match verb {
            SnapshotsVerb::List { volume } => self.list_snapshots(&volume).await,
            SnapshotsVerb::Create { volume, name, wait } => {
                let id = self.select_volume_id(&volume).await?;
                let operation = self.client.create_snapshot(id, &NewSnapshot { name }).await?;
                self.finish(operation, wait, |done| {
                    format!("snapshot of {} taken", done.volume_id)
                })
                .await
            }
            SnapshotsVerb::Revert {
                volume,
                snapshot,
                yes,
                wait,
            } => {
                let volume = self.select_volume(&volume).await?;
                let snapshot = self.select_snapshot(volume.id, &snapshot).await?;
                let (name, taken) = (plain(&volume.name), time(snapshot.created_at));
                let question = format!(
                    "This puts volume {name} back to {taken}; what was written since is lost. Go on?"
                );
                yes.consent().obtain(&question)?;
                let operation = self.client.revert_snapshot(volume.id, snapshot.id).await?;
                self.finish(operation, wait, |_| format!("{} is as of {taken}", volume.id))
                    .await
            }
            SnapshotsVerb::Delete {
                volume,
                snapshot,
                yes,
                wait,
            } => {
                let volume = self.select_volume_id(&volume).await?;
                let snapshot = self.select_snapshot(volume, &snapshot).await?;
                yes.consent().obtain(&format!(
                    "This deletes snapshot {}. Go on?",
                    plain(&snapshot.name)
                ))?;
                let operation = self.client.delete_snapshot(volume, snapshot.id).await?;
                self.finish(operation, wait, |_| format!("deleted snapshot {}", snapshot.id))
                    .await
            }
        }
    }

    async fn list_snapshots(&self, volume: &str) -> Result<(), Failure> {
        let volume = self.select_volume_id(volume).await?;
        let snapshots: Vec<Snapshot> = self.client.list_all_snapshots(volume).try_collect().await?;
        self.out.list(&snapshots, |snapshots| {
            let mut table = Table::new(&["id", "name", "size", "state", "created"]);
            for snapshot in snapshots {
                table.row([
                    snapshot.id.to_string(),
                    snapshot.name.clone(),
                    human_size(snapshot.size_bytes),
                    word(snapshot.state),
                    time(snapshot.created_at),
                ]);
            }
            table
        })
    }
}
