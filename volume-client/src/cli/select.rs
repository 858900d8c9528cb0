//! Which thing is meant: by its id, or by a name that only one has.

use std::fmt::Display;

use futures_util::TryStreamExt;

use super::Session;
use super::failure::Failure;
use super::table::plain;
use crate::client::VolumeFilter;
use crate::types::{Snapshot, Volume, VolumeId};

impl Session {
    /// The volume of this id or name.
    pub(super) async fn select_volume(&self, text: &str) -> Result<Volume, Failure> {
        if let Ok(id) = text.parse::<VolumeId>() {
            return Ok(self.client.volume(id).await?);
        }
        let filter = VolumeFilter {
            name: Some(text.to_owned()),
            ..VolumeFilter::default()
        };
        let all: Vec<Volume> = self.client.list_all_volumes(filter).try_collect().await?;
        let named = all.into_iter().filter(|volume| volume.name == text).collect();
        only("volume", text, named, |volume| volume.id)
    }

    /// The id of the volume of this id or name.
    pub(super) async fn select_volume_id(&self, text: &str) -> Result<VolumeId, Failure> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_no_id) => Ok(self.select_volume(text).await?.id),
        }
    }

    /// The snapshot of this id or name among a volume's.
    pub(super) async fn select_snapshot(&self, volume: VolumeId, text: &str) -> Result<Snapshot, Failure> {
        let all: Vec<Snapshot> = self.client.list_all_snapshots(volume).try_collect().await?;
        let fits = |snapshot: &Snapshot| snapshot.name == text || snapshot.id.to_string() == text;
        only(
            "snapshot",
            text,
            all.into_iter().filter(fits).collect(),
            |snapshot| snapshot.id,
        )
    }
}

fn only<T, I: Display>(
    what: &str,
    text: &str,
    mut found: Vec<T>,
    id: impl Fn(&T) -> I,
) -> Result<T, Failure> {
    let text = plain(text);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::Selection {
            error: format!("there is no {what} `{text}`"),
            hint: Some(format!("`volumectl {what}s list` shows what there is")),
        }),
        n => {
            let ids: Vec<_> = found.iter().map(|one| id(one).to_string()).collect();
            Err(Failure::Selection {
                error: format!("{n} {what}s are named `{text}`"),
                hint: Some(format!("say which by its id: {}", ids.join(", "))),
            })
        }
    }
}
