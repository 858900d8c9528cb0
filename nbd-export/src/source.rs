//! The device to export: a descriptor that the caller has verified, and the path it was opened by.

use std::{
    fmt, fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat, fstat, major, minor, stat};

/// A verified device (or, for tests and images, a regular file) and the bytes it must have.
#[derive(Debug, Clone)]
pub struct ExportSource {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    size: u64,
    identity: SourceIdentity,
}

/// One incarnation of a device within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceIdentity {
    /// A block device.
    Block {
        /// Device number.
        device: u64,
        /// The kernel's `diskseq`, 0 where it has none (before Linux 5.15).
        diskseq: u64,
    },
    /// A regular file.
    File {
        /// Device number of its file system.
        device: u64,
        /// Inode number.
        inode: u64,
    },
}

/// Why a source is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A path that is relative, climbs, or has characters that could break out of a configuration line.
    #[error("path {path:?} is refused: {problem}")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// Neither a block device nor a regular file.
    #[error("descriptor of {} is neither a block device nor a regular file", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// The path leads to another device than the descriptor.
    #[error("path {} names {found}, the descriptor is {expected}", path.display())]
    Swapped {
        /// The path.
        path: PathBuf,
        /// The verified device.
        expected: SourceIdentity,
        /// What the path leads to now.
        found: String,
    },
    /// The device is not as large as the caller says.
    #[error("{} has {found} bytes, expected {expected}", path.display())]
    Size {
        /// The path.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
        /// Bytes found through the descriptor.
        found: u64,
    },
    /// The system refused to look.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExportSource {
    /// Takes a verified descriptor. Refused unless `path` still leads to the same device and the size is `size` bytes.
    ///
    /// The descriptor may be read-only and is shared for as long as the source lives, never written through.
    pub fn new(
        path: impl Into<PathBuf>,
        descriptor: impl Into<Arc<OwnedFd>>,
        size: u64,
    ) -> Result<Self, SourceError> {
        let path = path.into();
        let descriptor = descriptor.into();
        check_path(&path)?;
        let stat = fstat(&*descriptor).map_err(failed("examine the descriptor of", &path))?;
        let identity = SourceIdentity::of(&stat).ok_or_else(|| SourceError::Kind { path: path.clone() })?;
        let source = Self {
            path,
            descriptor,
            size,
            identity,
        };
        source.verify()?;
        Ok(source)
    }

    /// The path the caller knows it by; for people and logs, never opened by a server.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Which device it is.
    #[must_use]
    pub fn identity(&self) -> SourceIdentity {
        self.identity
    }

    /// Checks again, through the descriptor, that path, device and size agree.
    pub(crate) fn verify(&self) -> Result<(), SourceError> {
        let now = fstat(&*self.descriptor).map_err(failed("examine the descriptor of", &self.path))?;
        let named = stat(&self.path).map_err(failed("look up", &self.path))?;
        for found in [SourceIdentity::of(&now), SourceIdentity::of(&named)] {
            if found != Some(self.identity) {
                let found = found.map_or_else(|| "something else".to_owned(), |f| f.to_string());
                return Err(SourceError::Swapped {
                    path: self.path.clone(),
                    expected: self.identity,
                    found,
                });
            }
        }
        let found = self.measured()?;
        if found != self.size {
            return Err(SourceError::Size {
                path: self.path.clone(),
                expected: self.size,
                found,
            });
        }
        Ok(())
    }

    /// The descriptor as another process can open it: the magic link leads to the open file, not along a path
    /// (proc_pid_fd(5)), so nothing is resolved anew.
    pub(crate) fn proc_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.descriptor.as_raw_fd())
    }

    /// Size through a description of our own, so that the caller's file offset stays where it is.
    fn measured(&self) -> Result<u64, SourceError> {
        let own = format!("/proc/self/fd/{}", self.descriptor.as_raw_fd());
        let file = rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed("reopen", &self.path))?;
        rustix::fs::seek(&file, SeekFrom::End(0)).map_err(failed("measure", &self.path))
    }
}

impl SourceIdentity {
    /// `None` for anything but block devices and regular files.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => Some(Self::Block {
                device: stat.st_rdev,
                diskseq: diskseq_of(stat.st_rdev),
            }),
            FileType::RegularFile => Some(Self::File {
                device: stat.st_dev,
                inode: stat.st_ino,
            }),
            _ => None,
        }
    }

    /// Whether the kernel still has this very device under this number. Files are taken as they are.
    pub(crate) fn is_current(&self) -> bool {
        match *self {
            Self::Block { device, diskseq } => sysfs_exists(device) && diskseq_of(device) == diskseq,
            Self::File { .. } => true,
        }
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Block { device, diskseq } => {
                write!(f, "block-{:x}.{:x}-{diskseq:x}", major(device), minor(device))
            }
            Self::File { device, inode } => {
                write!(f, "file-{:x}.{:x}-{inode:x}", major(device), minor(device))
            }
        }
    }
}

/// Reads what `Display` wrote.
impl std::str::FromStr for SourceIdentity {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let (kind, rest) = text.split_once('-')?;
            let (device, last) = rest.split_once('-')?;
            let (major, minor) = device.split_once('.')?;
            let number = |text| u32::from_str_radix(text, 16).ok();
            let device = rustix::fs::makedev(number(major)?, number(minor)?);
            let last = u64::from_str_radix(last, 16).ok()?;
            match kind {
                "block" => Some(Self::Block {
                    device,
                    diskseq: last,
                }),
                "file" => Some(Self::File { device, inode: last }),
                _ => None,
            }
        };
        parse().ok_or(())
    }
}

fn diskseq_of(device: u64) -> u64 {
    fs::read_to_string(format!("{}/diskseq", sysfs(device)))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn sysfs_exists(device: u64) -> bool {
    Path::new(&sysfs(device)).exists()
}

fn sysfs(device: u64) -> String {
    format!("/sys/dev/block/{}:{}", major(device), minor(device))
}

fn check_path(path: &Path) -> Result<(), SourceError> {
    let refuse = |problem| {
        Err(SourceError::Path {
            path: path.to_owned(),
            problem,
        })
    };
    let Some(text) = path.to_str() else {
        return refuse("it is not UTF-8");
    };
    if text.chars().any(char::is_control) {
        return refuse("it contains control characters");
    }
    if !path.is_absolute() {
        return refuse("it is not absolute");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return refuse("it contains \"..\"");
    }
    Ok(())
}

fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io {
        doing,
        path,
        source: source.into(),
    }
}
