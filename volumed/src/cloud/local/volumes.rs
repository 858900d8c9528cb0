//! Volumes: listing, making, attaching, detaching, growing and deleting them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, SeekFrom, fsync, seek};
use rustix::io::Errno;
use uuid::Uuid;

use super::claims::{Ticket, Work};
use super::disk::{VolumeRecord, attached_twice, open_content};
use super::failure::OrCloudError;
use super::layout::{self, DISK, SNAPSHOTS, VOLUME};
use super::loops::{self, Candidates};
use super::{Inner, MAX_SIZE, SIZE_UNIT, Settled};
use crate::cloud::{CloudError, NewVolume, ProviderState, ProviderVolume};
use crate::model::{Bytes, Identity};

/// A name as long as a file name may be.
const NAME_LIMIT: usize = 255;

impl Inner {
    pub(super) fn volume(&self, id: Uuid) -> Result<Option<ProviderVolume>, CloudError> {
        let doing = || format!("reading volume {id}");
        let candidates = Candidates::scan().untouched(doing)?;
        self.describe(id, &candidates).untouched(doing)
    }

    pub(super) fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError> {
        let doing = || "listing volumes".to_owned();
        let ids = layout::ids(&self.layout.volumes).untouched(doing)?;
        let candidates = Candidates::scan().untouched(doing)?;
        let described = ids.into_iter().map(|id| self.describe(id, &candidates));
        described
            .filter_map(Result::transpose)
            .collect::<io::Result<_>>()
            .untouched(doing)
    }

    /// `None`: no such directory, or a create in it that never finished.
    fn describe(&self, id: Uuid, candidates: &Candidates) -> io::Result<Option<ProviderVolume>> {
        let Some(dir) = layout::open_dir(&self.layout.volumes, &id.to_string())? else {
            return Ok(None);
        };
        let mut volume = ProviderVolume {
            provider_ref: id.to_string(),
            name: String::new(),
            is_root: false,
            size: Bytes(0),
            state: ProviderState::Ready,
            attached_to: None,
            // Its identity is the file itself: a device of that identity holds its content, whoever bound it.
            attachment_mark: None,
            identity: None,
        };
        match layout::read_record::<VolumeRecord>(&dir, VOLUME) {
            Ok(Some(record)) => volume.name = record.name,
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                volume.state = ProviderState::Unusable(format!("{VOLUME} makes no sense: {e}"));
            }
            Err(e) => return Err(e),
        }
        if let Some(what) = self.claims.long_work(id) {
            volume.state = ProviderState::Busy(what.to_owned());
        }
        match open_content(&dir, OFlags::RDONLY)? {
            Err(reason) => volume.state = ProviderState::Unusable(reason),
            Ok((_, size, backing)) => {
                volume.size = Bytes(size);
                volume.identity = Some(Identity::LoopBacking {
                    device: backing.device,
                    inode: backing.inode,
                });
                let bound = candidates.over(id, backing)?;
                volume.attached_to = (!bound.live.is_empty()).then(|| self.vm.clone());
                if bound.live.len() > 1 {
                    volume.state = ProviderState::Unusable(attached_twice(&bound));
                }
            }
        }
        Ok(Some(volume))
    }

    pub(super) fn create_volume(
        &self,
        call: &str,
        spec: &NewVolume,
        ticket: &Ticket,
    ) -> Result<ProviderVolume, CloudError> {
        let doing = || {
            format!(
                "creating volume `{}` of {}",
                spec.name.escape_default(),
                spec.size
            )
        };
        check_name(&spec.name, doing)?;
        check_size(spec.size, doing)?;
        let _alone = self.creating.lock();
        let id = layout::made_by(call, "volume");
        ticket.still_wanted(id)?;
        if let Some((existing, record)) = self.recorded_as(&spec.name).untouched(doing)? {
            if record.created_size != spec.size.0 {
                return Err(CloudError::Conflict {
                    doing: doing(),
                    reason: format!(
                        "volume {existing} has that name and was made with {} bytes",
                        record.created_size
                    ),
                });
            }
            return self.made(existing, doing);
        }
        let dir = layout::make_dir(&self.layout.volumes, &id.to_string()).untouched(doing)?;
        if layout::names(&dir)
            .untouched(doing)?
            .iter()
            .any(|name| name == VOLUME)
        {
            let reason = format!("call {call} has made volume {id} of another name already");
            return Err(CloudError::Conflict {
                doing: doing(),
                reason,
            });
        }
        let made = make_content(&dir, spec.size).untouched(doing);
        self.tidy_after(id, &made);
        made??;
        let record = VolumeRecord {
            name: spec.name.clone(),
            created_size: spec.size.0,
            created_by: call.to_owned(),
        };
        let recorded = layout::write_record(&dir, VOLUME, &record).in_doubt(doing);
        self.tidy_after(id, &recorded);
        recorded?;
        self.made(id, doing)
    }

    /// After a create that failed: what it left is in nobody's way, but takes room.
    fn tidy_after<T>(&self, id: Uuid, result: &Result<T, CloudError>) {
        if result.is_err()
            && let Err(error) = self.layout.discard_if_unfinished(id)
        {
            tracing::warn!(%id, %error, "what a failed create left stays until the next start");
        }
    }

    fn made(&self, id: Uuid, doing: impl Fn() -> String) -> Result<ProviderVolume, CloudError> {
        self.volume(id)?.ok_or_else(|| CloudError::Conflict {
            doing: doing(),
            reason: format!("volume {id} vanished meanwhile"),
        })
    }

    fn recorded_as(&self, name: &str) -> io::Result<Option<(Uuid, VolumeRecord)>> {
        for id in layout::ids(&self.layout.volumes)? {
            let Some(dir) = layout::open_dir(&self.layout.volumes, &id.to_string())? else {
                continue;
            };
            match layout::read_record::<VolumeRecord>(&dir, VOLUME) {
                Ok(Some(record)) if record.name == name => return Ok(Some((id, record))),
                Ok(_) => {}
                // A broken record names nobody; the listing shows it as unusable.
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    pub(super) fn attach(&self, id: Uuid, vm: &str, ticket: &Ticket) -> Result<Settled<()>, CloudError> {
        let doing = || format!("attaching volume {id} to VM {vm}");
        let _claim = self.claims.claim(id, Work::Short, ticket)?;
        let disk = self.disk(id, OFlags::RDWR)?;
        if vm != self.vm {
            return Err(CloudError::Refused {
                doing: doing(),
                reason: format!("volumes of this machine can be attached to VM {} only", self.vm),
            });
        }
        let bound = disk.bound()?;
        if !bound.live.is_empty() {
            return Ok(Settled::Done(()));
        }
        if !bound.leaving.is_empty() {
            return Ok(Settled::GoingAway(bound.names()));
        }
        let device = {
            let _alone = self.binding.lock();
            loops::bind(id, &disk.file).untouched(doing)?
        };
        // Somebody else may have bound the file between our look and our binding.
        match disk.bound() {
            Ok(_) => Ok(Settled::Done(())),
            Err(twice) => {
                device.unbind().in_doubt(doing)?;
                Err(twice)
            }
        }
    }

    pub(super) fn detach(&self, id: Uuid, vm: &str, ticket: &Ticket) -> Result<(), CloudError> {
        let doing = || format!("detaching volume {id} from VM {vm}");
        let _claim = self.claims.claim(id, Work::Short, ticket)?;
        let Some(device) = self.disk(id, OFlags::RDONLY)?.bound()?.live.pop() else {
            return Ok(());
        };
        if vm != self.vm {
            return Err(CloudError::AttachedElsewhere {
                volume: id.to_string(),
                vm: self.vm.clone(),
            });
        }
        device.flush().untouched(doing)?;
        device.unbind().in_doubt(doing)
    }

    pub(super) fn resize(&self, id: Uuid, size: Bytes, ticket: &Ticket) -> Result<(), CloudError> {
        let doing = || format!("resizing volume {id} to {size}");
        check_size(size, doing)?;
        let _claim = self.claims.claim(id, Work::Short, ticket)?;
        let disk = self.disk(id, OFlags::RDWR)?;
        let bound = disk.bound()?;
        if size.0 < disk.size {
            return Err(CloudError::Refused {
                doing: doing(),
                reason: format!("it has {} bytes, and volumes never shrink", disk.size),
            });
        }
        if size.0 > disk.size {
            disk.file.set_len(size.0).untouched(doing)?;
            disk.file.sync_all().in_doubt(doing)?;
        }
        bound
            .live
            .iter()
            .try_for_each(loops::LoopDevice::take_capacity)
            .in_doubt(doing)
    }

    pub(super) fn delete_volume(&self, id: Uuid, ticket: &Ticket) -> Result<Settled<()>, CloudError> {
        let doing = || format!("deleting volume {id}");
        let conflict = |reason| {
            Err(CloudError::Conflict {
                doing: doing(),
                reason,
            })
        };
        let _claim = self.claims.claim(id, Work::Short, ticket)?;
        let disk = match self.disk(id, OFlags::RDONLY) {
            Ok(disk) => disk,
            Err(CloudError::NotFound { .. }) => return Ok(Settled::Done(())),
            Err(e) => return Err(e),
        };
        let bound = disk.bound()?;
        if !bound.live.is_empty() {
            return conflict(format!("it is attached to VM {}", self.vm));
        }
        if !bound.leaving.is_empty() {
            return Ok(Settled::GoingAway(bound.names()));
        }
        if let Some(kept) = kept_snapshot(&disk.dir).untouched(doing)? {
            return conflict(format!("it has snapshots (`{kept}`)"));
        }
        let names = layout::names(&disk.dir).untouched(doing)?;
        if let Some(foreign) = names.iter().find(|name| !layout::is_ours(name)) {
            return conflict(format!(
                "its directory holds `{foreign}`, which we did not put there"
            ));
        }
        layout::discard(&self.layout.volumes, id, &self.layout.trash).in_doubt(doing)?;
        Ok(Settled::Done(()))
    }
}

/// Any entry that is not a snapshot in progress.
fn kept_snapshot(volume: &OwnedFd) -> io::Result<Option<String>> {
    let Some(snapshots) = layout::open_dir(volume, SNAPSHOTS)? else {
        return Ok(None);
    };
    let mut names = layout::names(&snapshots)?.into_iter();
    Ok(names.find(|name| !layout::is_unfinished_snapshot(name)))
}

/// Makes the empty content, or takes over what an earlier try of the same create left. That try wrote nothing into it:
/// if there is data, it is not what it seems, and it is left alone.
fn make_content(dir: &OwnedFd, size: Bytes) -> io::Result<Result<(), CloudError>> {
    let fresh = layout::create_file(dir, DISK);
    let file = match fresh {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let left = open_content(dir, OFlags::RDWR)?.and_then(|(file, ..)| {
                match seek(&file, SeekFrom::Data(0)) {
                    Err(Errno::NXIO) => Ok(file),
                    _ => Err(format!("{DISK} holds data but the volume has no record")),
                }
            });
            match left {
                Ok(file) => file,
                Err(reason) => {
                    let doing = "finishing the create of a volume".to_owned();
                    return Ok(Err(CloudError::Conflict { doing, reason }));
                }
            }
        }
        other => other?,
    };
    file.set_len(0)?;
    file.set_len(size.0)?;
    file.sync_all()?;
    fsync(dir.as_fd())?;
    Ok(Ok(()))
}

/// Refuses what could not be shown or found again.
pub(super) fn check_name(name: &str, doing: impl Fn() -> String) -> Result<(), CloudError> {
    let reason = if name.is_empty() {
        "the name is empty"
    } else if name.len() > NAME_LIMIT {
        "the name is longer than 255 bytes"
    } else if name.chars().any(char::is_control) {
        "the name holds control characters"
    } else {
        return Ok(());
    };
    Err(CloudError::Refused {
        doing: doing(),
        reason: reason.to_owned(),
    })
}

fn check_size(size: Bytes, doing: impl Fn() -> String) -> Result<(), CloudError> {
    let reason = if size.0 == 0 {
        "a volume cannot be empty".to_owned()
    } else if !size.is_multiple_of(SIZE_UNIT) {
        format!("sizes are multiples of {SIZE_UNIT}")
    } else if size > MAX_SIZE {
        format!("volumes are at most {MAX_SIZE}")
    } else {
        return Ok(());
    };
    Err(CloudError::Refused {
        doing: doing(),
        reason,
    })
}
