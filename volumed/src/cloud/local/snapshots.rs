//! Snapshots: clones of a volume's content where the file system can, sparse copies of a detached volume else.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fsync, renameat};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::claims::{Ticket, Work};
use super::copy;
use super::disk::{Disk, open_content};
use super::failure::OrCloudError;
use super::layout::{self, DISK, NEW_DISK, SNAPSHOT, SNAPSHOTS};
use super::loops::{Bound, LoopDevice};
use super::volumes::check_name;
use super::{Inner, Settled, no_snapshot};
use crate::cloud::{CloudError, ProviderSnapshot};
use crate::model::Bytes;

/// What is written down of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotRecord {
    name: String,
    created_by: String,
}

impl Inner {
    pub(super) fn snapshots(&self, volume: Uuid) -> Result<Vec<ProviderSnapshot>, CloudError> {
        let disk = self.disk(volume, OFlags::RDONLY)?;
        list(&disk.dir).untouched(|| format!("listing snapshots of volume {volume}"))
    }

    pub(super) fn create_snapshot(
        &self,
        volume: Uuid,
        call: &str,
        name: &str,
        ticket: &Ticket,
    ) -> Result<ProviderSnapshot, CloudError> {
        let doing = || format!("taking snapshot `{}` of volume {volume}", name.escape_default());
        check_name(name, doing)?;
        let _claim = self
            .claims
            .claim(volume, Work::Long("taking a snapshot"), ticket)?;
        let disk = self.disk(volume, OFlags::RDONLY)?;
        let present = list(&disk.dir).untouched(doing)?;
        if let Some(same) = present.into_iter().find(|snapshot| snapshot.name == name) {
            return Ok(same);
        }
        let bound = disk.bound()?;
        let id = layout::made_by(&format!("{volume} {call}"), "snapshot");
        let snapshots = layout::make_dir(&disk.dir, SNAPSHOTS).untouched(doing)?;
        if layout::open_dir(&snapshots, &id.to_string())
            .untouched(doing)?
            .is_some()
        {
            let reason = format!("call {call} has taken snapshot {id} of another name already");
            return Err(CloudError::Conflict {
                doing: doing(),
                reason,
            });
        }
        let unfinished = layout::unfinished_snapshot(id);
        let record = SnapshotRecord {
            name: name.to_owned(),
            created_by: call.to_owned(),
        };
        let taken = fill(&snapshots, &unfinished, &disk, &bound, &record);
        if !matches!(taken, Ok(Taken::InOneInstant))
            && let Err(error) = layout::purge(&snapshots, &unfinished)
        {
            tracing::warn!(%volume, %error, "an unfinished snapshot stays until the next try");
        }
        if let Taken::Changing = taken.untouched(doing)? {
            let reason =
                "it is in use, and the file system of the volumes cannot clone files: detach it first";
            return Err(CloudError::Conflict {
                doing: doing(),
                reason: reason.to_owned(),
            });
        }
        renameat(&snapshots, &unfinished, &snapshots, id.to_string()).in_doubt(doing)?;
        fsync(&snapshots).in_doubt(doing)?;
        Ok(ProviderSnapshot {
            snapshot_ref: id.to_string(),
            name: record.name,
            size: Bytes(disk.size),
            ready: true,
        })
    }

    pub(super) fn revert(
        &self,
        volume: Uuid,
        snapshot: Uuid,
        ticket: &Ticket,
    ) -> Result<Settled<()>, CloudError> {
        let doing = || format!("reverting volume {volume} to snapshot {snapshot}");
        let _claim = self
            .claims
            .claim(volume, Work::Long("reverting to a snapshot"), ticket)?;
        let disk = self.disk(volume, OFlags::RDONLY)?;
        let kept = open_snapshot(&disk.dir, snapshot).untouched(doing)?;
        let kept = kept.ok_or_else(|| no_snapshot(snapshot, volume))?;
        let bound = disk.bound()?;
        if !bound.live.is_empty() {
            let reason = format!("it is attached to VM {}: detach it first", self.vm);
            return Err(CloudError::Conflict {
                doing: doing(),
                reason,
            });
        }
        if !bound.leaving.is_empty() {
            return Ok(Settled::GoingAway(bound.names()));
        }
        let (content, ..) = open_content(&kept, OFlags::RDONLY)
            .untouched(doing)?
            .map_err(|reason| CloudError::Conflict {
                doing: doing(),
                reason: format!("the snapshot's {reason}"),
            })?;
        layout::remove_file(&disk.dir, NEW_DISK).untouched(doing)?;
        if let Err(error) = copy_whole(&content, &disk.dir, NEW_DISK) {
            layout::remove_file(&disk.dir, NEW_DISK).untouched(doing)?;
            return Err(error).untouched(doing);
        }
        renameat(&disk.dir, NEW_DISK, &disk.dir, DISK).in_doubt(doing)?;
        fsync(&disk.dir).in_doubt(doing)?;
        Ok(Settled::Done(()))
    }

    pub(super) fn delete_snapshot(
        &self,
        volume: Uuid,
        snapshot: Uuid,
        ticket: &Ticket,
    ) -> Result<(), CloudError> {
        let doing = || format!("deleting snapshot {snapshot} of volume {volume}");
        let _claim = self.claims.claim(volume, Work::Short, ticket)?;
        let disk = match self.disk(volume, OFlags::RDONLY) {
            Ok(disk) => disk,
            Err(CloudError::NotFound { .. }) => return Ok(()),
            Err(e) => return Err(e),
        };
        let Some(dir) = open_snapshot(&disk.dir, snapshot).untouched(doing)? else {
            return Ok(());
        };
        let names = layout::names(&dir).untouched(doing)?;
        if let Some(foreign) = names.iter().find(|name| !layout::is_ours(name)) {
            let reason = format!("its directory holds `{foreign}`, which we did not put there");
            return Err(CloudError::Conflict {
                doing: doing(),
                reason,
            });
        }
        let snapshots = layout::make_dir(&disk.dir, SNAPSHOTS).untouched(doing)?;
        layout::discard(&snapshots, snapshot, &self.layout.trash).in_doubt(doing)
    }
}

fn list(volume: &OwnedFd) -> io::Result<Vec<ProviderSnapshot>> {
    let Some(snapshots) = layout::open_dir(volume, SNAPSHOTS)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for id in layout::ids(&snapshots)? {
        let Some(dir) = layout::open_dir(&snapshots, &id.to_string())? else {
            continue;
        };
        let Some(record) = layout::read_record::<SnapshotRecord>(&dir, SNAPSHOT)? else {
            continue;
        };
        let content = open_content(&dir, OFlags::RDONLY)?;
        found.push(ProviderSnapshot {
            snapshot_ref: id.to_string(),
            name: record.name,
            size: Bytes(content.as_ref().map_or(0, |(_, size, _)| *size)),
            ready: content.is_ok(),
        });
    }
    Ok(found)
}

fn open_snapshot(volume: &OwnedFd, snapshot: Uuid) -> io::Result<Option<OwnedFd>> {
    match layout::open_dir(volume, SNAPSHOTS)? {
        Some(snapshots) => layout::open_dir(&snapshots, &snapshot.to_string()),
        None => Ok(None),
    }
}

/// Whether the content was taken in one instant.
enum Taken {
    InOneInstant,
    Changing,
}

/// Puts a snapshot together under a temporary name, durably.
fn fill(
    snapshots: &OwnedFd,
    unfinished: &str,
    disk: &Disk,
    bound: &Bound,
    record: &SnapshotRecord,
) -> io::Result<Taken> {
    layout::purge(snapshots, unfinished)?;
    let dir = layout::make_dir(snapshots, unfinished)?;
    if bound.all().next().is_none() {
        copy_whole(&disk.file, &dir, DISK)?;
    } else {
        // What the guest wrote through the device's page cache must be in the file before it is cloned.
        bound.all().try_for_each(LoopDevice::flush)?;
        let to = layout::create_file(&dir, DISK)?;
        if !copy::clone(&disk.file, &to)? {
            return Ok(Taken::Changing);
        }
        to.sync_all()?;
    }
    layout::write_record(&dir, SNAPSHOT, record)?;
    Ok(Taken::InOneInstant)
}

/// Copies a content that nobody is changing to a new file, durably.
fn copy_whole(from: &File, dir: &OwnedFd, name: &str) -> io::Result<()> {
    let to = layout::create_file(dir, name)?;
    if !copy::clone(from, &to)? {
        copy::copy_sparse(from, &to)?;
    }
    to.sync_all()
}
