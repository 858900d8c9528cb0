//! Why a source is refused, or could not be read.

use std::io;
use std::path::PathBuf;

use super::archive::ArchiveError;
use super::format::Format;
use super::manifest::ManifestError;
use super::ovf::OvfError;
use crate::process::ProcessError;

/// What stands between a source and its disks. Nothing outside of the scratch and run directories was changed, and
/// what was put there is gone when this is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The text names no source that we know.
    #[error("`{spec}` is no source: {reason}")]
    Spec {
        /// The text as given.
        spec: String,
        /// What to write instead.
        reason: String,
    },
    /// A file could not be opened, read or written.
    #[error("{action} {}", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something other than a regular file (or, for raw images, a block device) stands at the path.
    #[error("{} is {found}: only regular files are read, and block devices as raw images", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// The path cannot be handed to qemu.
    #[error("the path {} is not valid UTF-8: rename the file or its folder", path.display())]
    PathEncoding {
        /// The path.
        path: PathBuf,
    },
    /// The bytes are those of another format than the one that was asked for or declared.
    #[error("{image} is declared as {declared}, but its content is {found}")]
    FormatMismatch {
        /// The image.
        image: String,
        /// What it should be.
        declared: String,
        /// What its first bytes say.
        found: String,
    },
    /// A format, or a feature of one, that we do not read.
    #[error("{image} {what}")]
    Unsupported {
        /// The image.
        image: String,
        /// What it has or is, and what to do.
        what: String,
    },
    /// A qcow2 image refers to a backing file, and that was not allowed.
    #[error(
        "{image} has the backing file `{backing}`: flatten it with `qemu-img convert`, or allow a backing chain \
         within its own folder"
    )]
    BackingFile {
        /// The image.
        image: String,
        /// The name that it gives.
        backing: String,
    },
    /// A qcow2 image keeps its data in another file.
    #[error("{image} keeps its data in an external file: flatten it with `qemu-img convert`")]
    DataFile {
        /// The image.
        image: String,
    },
    /// An image refers to a file that it may not refer to.
    #[error("{image} refers to `{reference}`, which is refused: {reason}")]
    Reference {
        /// The image or document.
        image: String,
        /// The name that it gives.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image contradicts itself or ends early.
    #[error("{image} is damaged: {reason}")]
    Corrupt {
        /// The image.
        image: String,
        /// What was found.
        reason: String,
    },
    /// qemu cannot open the image.
    #[error("opening {image} as {format}")]
    Open {
        /// The image.
        image: String,
        /// The format it was opened as.
        format: Format,
        /// What qemu said.
        #[source]
        source: ProcessError,
    },
    /// An external tool failed for reasons of its own.
    #[error("inspecting {image}")]
    Tool {
        /// The image.
        image: String,
        /// What went wrong.
        #[source]
        source: ProcessError,
    },
    /// A tool gave an answer that we do not understand.
    #[error("understanding what {program} says about {image}")]
    ToolAnswer {
        /// The program.
        program: &'static str,
        /// The image.
        image: String,
        /// What is wrong with the answer.
        #[source]
        source: serde_json::Error,
    },
    /// A file is no longer the one that was inspected.
    #[error("{} changed after it was inspected: start again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An archive is damaged or hostile.
    #[error("reading the archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// An OVF document is damaged, hostile or describes something that we do not migrate.
    #[error("reading the OVF document {document}")]
    Ovf {
        /// The document.
        document: String,
        /// What is wrong with it.
        #[source]
        source: OvfError,
    },
    /// A manifest does not say what the package holds.
    #[error("checking the manifest {manifest}")]
    Manifest {
        /// The manifest.
        manifest: String,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// A document or manifest is larger than such a thing may be.
    #[error("{name} has {size} bytes, more than the {limit} that are accepted")]
    DocumentTooLarge {
        /// The document.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A package lacks a file that its OVF document refers to.
    #[error("{document} refers to the file `{file}`, which is not in {}", package.display())]
    MissingFile {
        /// The document.
        document: String,
        /// The name that it gives.
        file: String,
        /// The archive or folder.
        package: PathBuf,
    },
    /// A file of a package has another size than the OVF document says.
    #[error(
        "{file} has {actual} bytes, but the OVF document says {declared}: the package is incomplete or altered"
    )]
    FileSize {
        /// The file.
        file: String,
        /// Bytes by the document.
        declared: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A disk's declared capacity is not the virtual size of its image.
    #[error("disk {disk} is declared with {declared} bytes, but its image {file} holds {actual}")]
    Capacity {
        /// The disk.
        disk: String,
        /// The image.
        file: String,
        /// Bytes by the document.
        declared: u64,
        /// Bytes by the image.
        actual: u64,
    },
    /// A compressed file unpacks to more than its disk can need.
    #[error("{file} unpacks to more than {limit} bytes, the most that its disk can need: refused as a bomb")]
    UnpackedTooLarge {
        /// The compressed file.
        file: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A compressed file grows beyond the accepted ratio.
    #[error("{file} unpacks to more than {ratio} times its size: refused as a bomb")]
    UnpackRatio {
        /// The compressed file.
        file: String,
        /// The bound.
        ratio: u64,
    },
    /// A compressed file cannot be unpacked.
    #[error("unpacking {file}")]
    Unpack {
        /// The compressed file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// There is no room to unpack a compressed file.
    #[error("unpacking {file} would leave less than {reserve} bytes free in {}: name another scratch folder", dir.display())]
    NoSpace {
        /// The compressed file.
        file: String,
        /// The scratch folder.
        dir: PathBuf,
        /// The bytes that must stay free there.
        reserve: u64,
    },
    /// The NBD server of a disk could not be started, or ended.
    #[error("serving {disk}")]
    Serve {
        /// The disk.
        disk: String,
        /// What went wrong.
        #[source]
        source: ProcessError,
    },
    /// The NBD server of a disk did not answer in time.
    #[error("the NBD server for {disk} did not answer within {seconds} s{}", said(stderr))]
    NotReady {
        /// The disk.
        disk: String,
        /// The bound in seconds.
        seconds: u64,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// The work was given up because nobody waits for it any more.
    #[error("reading the source was cancelled")]
    Cancelled,
}

impl SourceError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| SourceError::Io { action, path, source }
    }

    pub(super) fn corrupt(image: impl Into<String>, reason: impl Into<String>) -> Self {
        SourceError::Corrupt {
            image: image.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn unsupported(image: impl Into<String>, what: impl Into<String>) -> Self {
        SourceError::Unsupported {
            image: image.into(),
            what: what.into(),
        }
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}
