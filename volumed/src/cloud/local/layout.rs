//! The provider's directory on disk: names, durable small files, and opening that follows no symbolic link.
//!
//! ```text
//! <root>/lock                                   held while a daemon owns the root
//! <root>/volumes/<uuid>/disk.raw                the content; its length is the volume's size
//!                       volume.json             written last: without it, the create never finished
//!                       disk.raw.new            a revert in progress
//!                       snapshots/<uuid>/       disk.raw, snapshot.json
//!                       snapshots/tmp-<uuid>/   a snapshot in progress
//! <root>/trash/<uuid>/                          deleted: the rename hither was the decision
//! ```

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, SeekFrom, fsync, mkdirat, openat, renameat, seek,
    unlinkat,
};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::LocalOpenError;

/// Content of a volume or snapshot.
pub(super) const DISK: &str = "disk.raw";
/// Content that a revert is putting together.
pub(super) const NEW_DISK: &str = "disk.raw.new";
/// Record of a volume.
pub(super) const VOLUME: &str = "volume.json";
/// Record of a snapshot.
pub(super) const SNAPSHOT: &str = "snapshot.json";
/// Snapshots of a volume.
pub(super) const SNAPSHOTS: &str = "snapshots";
const RECORD_LIMIT: u64 = 64 << 10;

/// The directories of one root, open, and the lock on it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) volumes: OwnedFd,
    pub(super) trash: OwnedFd,
    _lock: OwnedFd,
}

impl Layout {
    /// Makes what is missing, takes the lock.
    pub(super) fn open(root: &std::path::Path) -> Result<Layout, LocalOpenError> {
        let failed = |source| LocalOpenError::Root {
            root: root.to_owned(),
            source,
        };
        std::fs::create_dir_all(root).map_err(failed)?;
        let dir = openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| failed(e.into()))?;
        let lock = openat(
            &dir,
            "lock",
            OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|e| failed(e.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LocalOpenError::InUse {
                    root: root.to_owned(),
                });
            }
            Err(e) => return Err(failed(e.into())),
        }
        Ok(Layout {
            volumes: make_dir(&dir, "volumes").map_err(failed)?,
            trash: make_dir(&dir, "trash").map_err(failed)?,
            _lock: lock,
        })
    }

    /// Discards what a create that was cut short has left: a volume without a record, whose disk nobody ever wrote to. One
    /// with data stays, whatever it is.
    pub(super) fn discard_unfinished(&self) -> io::Result<()> {
        for id in ids(&self.volumes)? {
            self.discard_if_unfinished(id)?;
        }
        Ok(())
    }

    /// The same for one volume.
    pub(super) fn discard_if_unfinished(&self, id: Uuid) -> io::Result<()> {
        match open_dir(&self.volumes, &id.to_string())? {
            Some(dir) if is_unfinished(&dir)? => discard(&self.volumes, id, &self.trash),
            _ => Ok(()),
        }
    }

    /// Finishes deletions that a crash cut short; what will not go is left for the next time.
    pub(super) fn empty_trash(&self) -> io::Result<()> {
        for name in ids(&self.trash)? {
            if let Err(error) = purge(&self.trash, &name.to_string()) {
                tracing::warn!(%name, %error, "deleted content stays in the trash for now");
            }
        }
        Ok(())
    }
}

/// The id in a reference, if it is spelt exactly as we spell ours; nothing else ever becomes part of a path.
pub(super) fn parse_ref(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.as_hyphenated().to_string() == text).then_some(id)
}

/// The id of what a call makes: the same call repeated finds what it began.
pub(super) fn made_by(call: &str, kind: &str) -> Uuid {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(call)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Opens a directory below `parent`; `None` where there is none, or something else (a link) has its name.
pub(super) fn open_dir(parent: impl AsFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Opens a directory below `parent`, made durably where there is none.
pub(super) fn make_dir(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => fsync(parent)?,
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    open_dir(parent, name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotADirectory))
}

/// The names in a directory; what is not UTF-8 is not ours, but is there, so it is shown with replacement characters.
pub(super) fn names(dir: impl AsFd) -> io::Result<Vec<String>> {
    let own = |name: &CStr| name.to_string_lossy().into_owned();
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = own(entry?.file_name());
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// The ids among the names in a directory.
pub(super) fn ids(dir: impl AsFd) -> io::Result<Vec<Uuid>> {
    Ok(names(dir)?.iter().filter_map(|n| parse_ref(n)).collect())
}

/// Opens an existing file, never through a link.
pub(super) fn open_file(dir: impl AsFd, name: &str, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(openat(dir, name, flags, Mode::empty())?))
}

/// Creates a file that was not there, readable by us only.
pub(super) fn create_file(dir: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Removes a file; absent is fine.
pub(super) fn remove_file(dir: impl AsFd, name: &str) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Writes a record so that after any crash the name holds it wholly, or what it held before.
pub(super) fn write_record(dir: impl AsFd, name: &str, record: &impl Serialize) -> io::Result<()> {
    let dir = dir.as_fd();
    let temporary = format!("{name}.tmp");
    remove_file(dir, &temporary)?;
    let mut file = create_file(dir, &temporary)?;
    file.write_all(&serde_json::to_vec_pretty(record)?)?;
    file.sync_all()?;
    renameat(dir, &temporary, dir, name)?;
    Ok(fsync(dir)?)
}

/// Reads a record: `None` where there is none, an [`io::ErrorKind::InvalidData`] error where it makes no sense.
pub(super) fn read_record<T: DeserializeOwned>(dir: impl AsFd, name: &str) -> io::Result<Option<T>> {
    let file = match open_file(dir, name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Vec::new();
    file.take(RECORD_LIMIT).read_to_end(&mut text)?;
    Ok(Some(
        serde_json::from_slice(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?,
    ))
}

/// Takes `name` out of `from` durably and in one step, then removes what we recognise of it. The deletion is decided
/// with the rename: what stays behind in the trash is tried again when the root is opened.
pub(super) fn discard(from: impl AsFd, name: Uuid, trash: impl AsFd) -> io::Result<()> {
    let (from, trash) = (from.as_fd(), trash.as_fd());
    // Usually the same name; another one where something of that name will not go.
    let kept = match purge(trash, &name.to_string()) {
        Ok(()) => name,
        Err(_) => Uuid::new_v4(),
    };
    renameat(from, name.to_string(), trash, kept.to_string())?;
    fsync(trash)?;
    fsync(from)?;
    if let Err(error) = purge(trash, &kept.to_string()) {
        tracing::warn!(%name, %error, "deleted content stays in the trash for now");
    }
    Ok(())
}

/// Removes a directory of ours and the files in it that we recognise. Anything else stays, and so does the directory.
pub(super) fn purge(parent: impl AsFd, name: &str) -> io::Result<()> {
    let parent = parent.as_fd();
    let Some(dir) = open_dir(parent, name)? else {
        return Ok(());
    };
    if let Some(snapshots) = open_dir(&dir, SNAPSHOTS)? {
        for unfinished in names(&snapshots)?.iter().filter(|n| is_unfinished_snapshot(n)) {
            purge(&snapshots, unfinished)?;
        }
        unlinkat(&dir, SNAPSHOTS, AtFlags::REMOVEDIR)?;
    }
    for name in names(&dir)?.iter().filter(|n| is_ours(n)) {
        remove_file(&dir, name)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn is_unfinished(dir: &OwnedFd) -> io::Result<bool> {
    let before_the_record = |name: &String| name == DISK || name.strip_suffix(".tmp") == Some(VOLUME);
    if !names(dir)?.iter().all(before_the_record) {
        return Ok(false);
    }
    match open_file(dir, DISK, OFlags::RDONLY) {
        Ok(disk) => Ok(seek(&disk, SeekFrom::Data(0)) == Err(Errno::NXIO)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}

/// Whether a name in a volume's or snapshot's directory is one that we give.
pub(super) fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    [DISK, NEW_DISK, VOLUME, SNAPSHOT, SNAPSHOTS].contains(&name)
}

/// The name under which a snapshot is put together.
pub(super) fn unfinished_snapshot(id: Uuid) -> String {
    format!("tmp-{id}")
}

/// Whether a name is one that [`unfinished_snapshot`] gives.
pub(super) fn is_unfinished_snapshot(name: &str) -> bool {
    name.strip_prefix("tmp-").and_then(parse_ref).is_some()
}
