//! One volume's directory, opened: its record, its content and the loop devices over that content.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::failure::OrCloudError;
use super::layout::{self, DISK, VOLUME};
use super::loops::{Backing, Bound, Candidates};
use super::{Inner, no_volume};
use crate::cloud::CloudError;

/// What is written down of a volume. Its size now is the length of its content, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    /// The name it was given.
    pub(super) name: String,
    /// The size it was made with, to recognise the same create when it is repeated.
    pub(super) created_size: u64,
    /// The call that made it, for people who look.
    pub(super) created_by: String,
}

/// A volume whose create finished.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) id: Uuid,
    pub(super) dir: OwnedFd,
    /// Content, opened as asked.
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) backing: Backing,
}

impl Inner {
    /// Opens the volume for a change.
    pub(super) fn disk(&self, id: Uuid, access: OFlags) -> Result<Disk, CloudError> {
        let doing = || format!("opening volume {id}");
        let dir = layout::open_dir(&self.layout.volumes, &id.to_string()).untouched(doing)?;
        let dir = dir.ok_or_else(|| no_volume(id))?;
        match layout::read_record::<VolumeRecord>(&dir, VOLUME) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(no_volume(id)),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(CloudError::Conflict {
                    doing: doing(),
                    reason: format!("{VOLUME} makes no sense: {e}"),
                });
            }
            Err(e) => return Err(e).untouched(doing),
        }
        match open_content(&dir, access).untouched(doing)? {
            Ok((file, size, backing)) => Ok(Disk {
                id,
                dir,
                file,
                size,
                backing,
            }),
            Err(reason) => Err(CloudError::Conflict {
                doing: doing(),
                reason,
            }),
        }
    }
}

impl Disk {
    /// The loop devices over it now. More than one that stays is refused: which one is meant cannot be known.
    pub(super) fn bound(&self) -> Result<Bound, CloudError> {
        let doing = || format!("looking for the devices of volume {}", self.id);
        let bound = Candidates::scan()
            .and_then(|all| all.over(self.id, self.backing))
            .untouched(doing)?;
        if bound.live.len() > 1 {
            return Err(CloudError::Conflict {
                doing: doing(),
                reason: attached_twice(&bound),
            });
        }
        Ok(bound)
    }
}

/// What is wrong with a volume that several devices are bound to.
pub(super) fn attached_twice(bound: &Bound) -> String {
    format!("it is attached twice: {}", bound.names())
}

/// Opens the content of a volume or snapshot with its size and what the kernel will call it. The inner error says why
/// what is there cannot be used.
pub(super) fn open_content(
    dir: &OwnedFd,
    access: OFlags,
) -> io::Result<Result<(File, u64, Backing), String>> {
    let file = match layout::open_file(dir, DISK, access) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(format!("{DISK} is missing"))),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            return Ok(Err(format!("{DISK} is a symbolic link")));
        }
        Err(e) => return Err(e),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Err(format!("{DISK} is not a regular file")));
    }
    if metadata.nlink() != 1 {
        return Ok(Err(format!(
            "{DISK} has {} names: somebody else may use it",
            metadata.nlink()
        )));
    }
    let backing = Backing {
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    Ok(Ok((file, metadata.len(), backing)))
}
