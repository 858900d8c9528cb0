//! What a caller allows a source to be and to cost.

use std::path::PathBuf;
use std::time::Duration;

use super::format::Format;

/// Whether an image may build on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backing {
    /// No: an image that does is refused.
    #[default]
    Refuse,
    /// A qcow2 image may, on regular files in its own folder only.
    SameFolder,
}

/// Whether an image's own tables are checked (`qemu-img check`) before anything else is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageCheck {
    /// Yes: costs reading the image's tables, not its data.
    #[default]
    Check,
    /// No: damage shows up while copying, if at all.
    Skip,
}

/// Whether the digests of a package's manifest are checked where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManifestCheck {
    /// Yes: costs reading the whole package once.
    #[default]
    Verify,
    /// No: a note says so.
    Skip,
}

/// How sources are opened and served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The format of a single image file; `None` looks at its content. Says also that the source *is* an image.
    pub format: Option<Format>,
    /// Whether a backing chain is allowed.
    pub backing: Backing,
    /// Whether images are checked.
    pub check: ImageCheck,
    /// Whether manifests are verified.
    pub manifest: ManifestCheck,
    /// Where compressed disks are unpacked; must exist.
    pub scratch_dir: PathBuf,
    /// Where the private folders with NBD sockets are made; must exist, and be short (a socket's path holds 107 bytes).
    pub run_dir: PathBuf,
    /// How many NBD clients one disk serves at once.
    pub connections: u16,
    /// How long a disk's NBD server may take to answer.
    pub ready_within: Duration,
    /// Bounds on what a source may cost.
    pub limits: SourceLimits,
}

/// Bounds on what a source may cost us. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// An OVF document.
    pub document: u64,
    /// A manifest.
    pub manifest: u64,
    /// Members of an archive.
    pub members: usize,
    /// One unpacked disk, whatever capacity it claims.
    pub unpacked: u64,
    /// How many times its own size a compressed disk may unpack to. Deflate itself ends at 1032.
    pub unpack_ratio: u64,
    /// What must stay free in the scratch folder.
    pub scratch_reserve: u64,
    /// Address space of a qemu-img that inspects.
    pub inspect_memory: u64,
    /// Wall time and processor time of a qemu-img that inspects.
    pub inspect_time: Duration,
    /// Address space of a qemu-img that checks.
    pub check_memory: u64,
    /// Wall time and processor time of a qemu-img that checks.
    pub check_time: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        SourceLimits {
            document: 4 << 20,
            manifest: 1 << 20,
            members: 1000,
            unpacked: 64 << 40,
            unpack_ratio: 1000,
            scratch_reserve: 1 << 30,
            inspect_memory: 1 << 30,
            inspect_time: Duration::from_secs(30),
            check_memory: 8 << 30,
            check_time: Duration::from_secs(900),
        }
    }
}

impl Default for Options {
    /// The safe choices, with the system's folder for temporary files.
    fn default() -> Self {
        Options {
            format: None,
            backing: Backing::default(),
            check: ImageCheck::default(),
            manifest: ManifestCheck::default(),
            scratch_dir: std::env::temp_dir(),
            run_dir: std::env::temp_dir(),
            connections: 16,
            ready_within: Duration::from_secs(20),
            limits: SourceLimits::default(),
        }
    }
}
