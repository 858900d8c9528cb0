//! A file that was opened once, is read through that descriptor, and can be recognised later.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{SourceError, name};

/// Bytes at offsets.
pub(super) trait ReadAt {
    /// How many bytes there are.
    fn len(&self) -> u64;
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The `count` bytes at `offset`, where there are so many.
    fn bytes_at<const N: usize>(&self, offset: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        if offset.checked_add(N as u64).is_none_or(|end| end > self.len()) {
            return Ok(None);
        }
        self.read_exact_at(&mut bytes, offset)?;
        Ok(Some(bytes))
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start
            .checked_add(buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// What stands behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular,
    BlockDevice,
}

/// How a file is recognised: the same path with another stamp is another file, or was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    rdev: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        Stamp {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            rdev: metadata.rdev(),
            size: metadata.size(),
            modified: if metadata.is_file() {
                (metadata.mtime(), metadata.mtime_nsec())
            } else {
                (0, 0)
            },
        }
    }

    /// Where it was found.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write changes it: a file's time tells, a device has none.
    pub(super) fn tells_writes(&self) -> bool {
        self.rdev == 0
    }

    /// Checks that the path still leads to the very file, unwritten.
    ///
    /// # Errors
    /// `Changed`, or `Io` where nothing is left at the path.
    pub(super) fn verify(&self) -> Result<(), SourceError> {
        let metadata =
            std::fs::symlink_metadata(&self.path).map_err(SourceError::io("looking again at", &self.path))?;
        if Stamp::new(&self.path, &metadata) == *self {
            Ok(())
        } else {
            Err(SourceError::Changed {
                path: self.path.clone(),
            })
        }
    }
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// An open file, or a window of one.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) kind: FileKind,
    pub(super) window: Option<Window>,
    /// How people know it: a path, or archive and member.
    pub(super) label: String,
    file: File,
    size: u64,
    stamp: Stamp,
}

impl SourceFile {
    /// Opens what a person named. Symbolic links are followed and resolved once, here.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let resolved = std::fs::canonicalize(path).map_err(SourceError::io("opening", path))?;
        Self::open_resolved(resolved)
    }

    /// Opens what a document or an image named: a regular file with a plain name in `dir`, no symbolic link.
    pub(super) fn open_beside(dir: &Path, file_name: &str, referrer: &str) -> Result<Self, SourceError> {
        let refused = |reason: &str| SourceError::Reference {
            image: referrer.to_owned(),
            reference: name::printable(file_name),
            reason: reason.to_owned(),
        };
        name::plain(file_name).map_err(refused)?;
        let path = dir.join(file_name);
        let metadata = std::fs::symlink_metadata(&path).map_err(SourceError::io("opening", &path))?;
        if metadata.is_symlink() {
            return Err(refused("it is a symbolic link"));
        }
        if !metadata.is_file() {
            return Err(refused("it is no regular file"));
        }
        let file = Self::open_resolved(path)?;
        if file.kind != FileKind::Regular {
            return Err(refused("it is no regular file"));
        }
        Ok(file)
    }

    fn open_resolved(path: PathBuf) -> Result<Self, SourceError> {
        if path.to_str().is_none() {
            return Err(SourceError::PathEncoding { path });
        }
        let before = std::fs::symlink_metadata(&path).map_err(SourceError::io("opening", &path))?;
        kind_of(&before, &path)?;
        // Should a pipe or a link have come between, this does not hang, and does not follow.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&path)
            .map_err(SourceError::io("opening", &path))?;
        let metadata = file.metadata().map_err(SourceError::io("opening", &path))?;
        let kind = kind_of(&metadata, &path)?;
        let size = (&file)
            .seek(SeekFrom::End(0))
            .map_err(SourceError::io("measuring", &path))?;
        let stamp = Stamp::new(&path, &metadata);
        let label = path.display().to_string();
        Ok(SourceFile {
            path,
            kind,
            window: None,
            label,
            file,
            size,
            stamp,
        })
    }

    /// The same file, seen through a window of it, which must lie within.
    pub(super) fn member(&self, window: Window, member: &str) -> Result<Self, SourceError> {
        let file = self
            .file
            .try_clone()
            .map_err(SourceError::io("opening again", &self.path))?;
        Ok(SourceFile {
            path: self.path.clone(),
            kind: self.kind,
            window: Some(window),
            label: format!("{}({member})", self.path.display()),
            file,
            size: self.size,
            stamp: self.stamp.clone(),
        })
    }

    /// The folder the file is in.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// How to recognise the whole file later.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp.clone()
    }

    /// An error of reading this file.
    pub(super) fn reading(&self) -> impl FnOnce(io::Error) -> SourceError + use<> {
        SourceError::io("reading", self.path.clone())
    }

    /// The whole content, where it is not larger than `limit`.
    pub(super) fn read_small(&self, limit: u64) -> Result<Vec<u8>, SourceError> {
        let size = self.len();
        let len = usize::try_from(size).ok().filter(|_| size <= limit);
        let Some(len) = len else {
            return Err(SourceError::DocumentTooLarge {
                name: self.label.clone(),
                size,
                limit,
            });
        };
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, 0).map_err(self.reading())?;
        Ok(bytes)
    }
}

impl ReadAt for SourceFile {
    fn len(&self) -> u64 {
        self.window.map_or(self.size, |window| window.len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > ReadAt::len(self)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = self.window.map_or(0, |window| window.offset);
        self.file.read_exact_at(buffer, start + offset)
    }
}

fn kind_of(metadata: &Metadata, path: &Path) -> Result<FileKind, SourceError> {
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => return Ok(FileKind::Regular),
        () if kind.is_block_device() => return Ok(FileKind::BlockDevice),
        () if kind.is_dir() => "a folder",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a character device",
    };
    Err(SourceError::NotAFile {
        path: path.to_owned(),
        found,
    })
}
