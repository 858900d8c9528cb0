//! Where disks come from: image files, OVA and OVF packages, NBD exports; each disk ends up readable over NBD.
//!
//! Sources are other people's files, and taken for hostile. [`open`] decides everything before anything is created
//! anywhere: what the bytes are, that they lead to no file that was not named, that sizes agree, that packages are
//! whole and unaltered, that images are not damaged. [`SourceDisk::serve`] then starts a read-only server.
//!
//! Guarantees:
//! - no file is opened by a name from within a source, unless that is a plain name in the source's own folder, and
//!   a regular file there; members of archives are read in place and never extracted through their names;
//! - qemu is told drivers and files explicitly; it guesses no format and follows no reference;
//! - every file is recognised again before and after a server opened it (device, inode, size, time);
//! - after an error, and after the last handle is dropped, no process and no file of ours is left. A process that is
//!   killed with `SIGKILL` takes its servers with it, but leaves folders `source-*` in the run and scratch folders.

mod archive;
mod blocking;
mod book;
mod courier;
mod error;
mod file;
mod files;
mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod image;
mod machine;
mod manifest;
mod name;
mod options;
mod ovf;
mod package;
mod qcow2;
mod qemu;
mod replicable;
mod serve;
mod spec;
#[cfg(test)]
mod tests;
mod unpack;
mod vhd;
mod vmdk;
pub mod vsphere;
mod xml;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use archive::ArchiveError;
pub use book::SourceBook;
pub use courier::{Courier, Delivered, Errand, What};
pub use error::SourceError;
pub use files::{FileSource, FileSourceError};
pub use format::{Format, FormatParseError};
pub use machine::{DiskKind, Firmware, SourceDisk, SourceMachine, SourceNetwork};
pub use manifest::ManifestError;
pub use options::{Backing, ImageCheck, ManifestCheck, Options, SourceLimits};
pub use ovf::OvfError;
pub use replicable::{Category, Changes, Cycle, Frozen, FrozenDisk, Mark, Source, SourceFailure, Wanted};
pub use serve::ServedDisk;
pub use spec::{Spec, shown};

use file::SourceFile;
use format::Look;
use image::Expect;
use machine::Content;

/// Opens the source that `spec` names ([`Spec::parse`]) and verifies it.
///
/// Reads the tables of images, the whole of packages that have a manifest, and unpacks compressed disks into the
/// scratch folder. Changes nothing; may be repeated, and gives the same disk ids each time. Dropping the future
/// stops the work.
///
/// # Errors
/// A [`SourceError`] that says what is wrong and what to do; nothing is left behind.
pub async fn open(spec: impl AsRef<OsStr>, options: &Options) -> Result<SourceMachine, SourceError> {
    match Spec::parse(spec.as_ref())? {
        Spec::Nbd(uri) => Ok(remote(uri)),
        Spec::Path(path) => open_path(path, options, Depth::Whole).await,
    }
}

/// How much of a source is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All that reading it needs.
    Whole,
    /// What costs little and tells what it is: no digests are computed, and nothing is unpacked.
    Look,
}

/// What stands at `path`, at little cost. What its disks hold is not verified, and those that are compressed cannot be
/// served.
async fn look_at(path: PathBuf, options: &Options) -> Result<SourceMachine, SourceError> {
    let options = Options {
        check: ImageCheck::Skip,
        ..options.clone()
    };
    open_path(path, &options, Depth::Look).await
}

async fn open_path(path: PathBuf, options: &Options, depth: Depth) -> Result<SourceMachine, SourceError> {
    if options.format.is_none() && has_extension(&path, "ovf") {
        return package::open_folder(&path, options, depth).await;
    }
    let given = path.clone();
    let (file, look) = blocking::run(move |_| {
        let file = SourceFile::open(&given)?;
        let look = format::look(&file).map_err(file.reading())?;
        Ok((file, look))
    })
    .await?;
    match options.format {
        Some(format) => lone_image(file, Expect::Exactly(format), &path, options).await,
        None if look == Look::Tar || has_extension(&path, "ova") => {
            package::open_archive(file, options, depth).await
        }
        None => lone_image(file, Expect::Look, &path, options).await,
    }
}

/// A machine of which only one disk is known. The disk is known again by its file's name.
async fn lone_image(
    file: SourceFile,
    expect: Expect,
    given: &Path,
    options: &Options,
) -> Result<SourceMachine, SourceError> {
    let path = file.path.clone();
    let mut image = image::inspect(file, expect, options).await?;
    let notes = std::mem::take(&mut image.notes);
    let id = given
        .file_name()
        .unwrap_or(given.as_os_str())
        .to_string_lossy()
        .into_owned();
    let disk = SourceDisk::of_image(id.clone(), id, path, image);
    Ok(nameless(stem(given), disk, notes))
}

/// A machine of which only an NBD export is known. The disk is known again by its URI.
fn remote(uri: String) -> SourceMachine {
    let shown = spec::shown(&uri);
    let disk = SourceDisk {
        disk_id: shown.clone(),
        label: shown.clone(),
        kind: DiskKind::Remote,
        capacity_bytes: None,
        path: None,
        content: Content::Remote(uri),
    };
    nameless(shown, disk, Vec::new())
}

fn nameless(name: String, disk: SourceDisk, notes: Vec<String>) -> SourceMachine {
    SourceMachine {
        name,
        cpus: None,
        memory_mb: None,
        firmware: None,
        disks: vec![disk],
        networks: Vec::new(),
        notes,
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
