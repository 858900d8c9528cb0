//! Why files are not read as a source, and what the caller can do about it.

use std::io;
use std::path::PathBuf;

use crate::block::NbdError;
use crate::process::ProcessError;
use crate::source::{ArchiveError, Category, SourceError, SourceFailure};

/// What stands between a folder of files and its machines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileSourceError {
    /// The folder or file itself cannot be looked at.
    #[error("the source {} cannot be looked at: see that it is there, mounted, and may be read", place.display())]
    Place {
        /// The folder or file.
        place: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No file, and no machine of one, has this name.
    #[error("no machine `{wanted}` in {}: name one by its file, or put its file there", place.display())]
    NotFound {
        /// What was looked for.
        wanted: String,
        /// The folder or file.
        place: PathBuf,
    },
    /// Several files hold a machine of this name.
    #[error("several machines are called `{wanted}`: name one by its file: {}", files.join(", "))]
    Ambiguous {
        /// What was looked for.
        wanted: String,
        /// Those that have the name.
        files: Vec<String>,
    },
    /// A datacenter was asked for.
    #[error("files are in no datacenter `{wanted}`: ask without one")]
    Datacenter {
        /// What was asked for.
        wanted: String,
    },
    /// A file of a folder is a symbolic link, or leads elsewhere.
    #[error("{} leads out of its folder: put the file itself there, or name it as a source of its own", path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
    },
    /// Nothing tells whether the disk changes.
    #[error(
        "nothing tells whether somebody writes to `{disk}` while it is read: devices are copied, not replicated"
    )]
    Traceless {
        /// The disk.
        disk: String,
    },
    /// A file is another one, or was written to, since it was opened.
    #[error(
        "`{disk}` changed while it was read, and what was read is not believed: it is read again when nothing writes to it"
    )]
    ChangedMeanwhile {
        /// The disk.
        disk: String,
        /// What was found.
        #[source]
        source: SourceError,
    },
    /// The disk is none of the frozen ones.
    #[error("`{disk}` is no disk that was frozen")]
    NoSuchDisk {
        /// What was asked for.
        disk: String,
    },
    /// All was let go of.
    #[error("the frozen disks were let go of: freeze the machine again")]
    Released,
    /// The folders for sockets and unpacked disks cannot be used.
    #[error(
        "the folders for sockets and for unpacked disks cannot be used: see that they are there, with room"
    )]
    Lodging(#[source] SourceError),
    /// A disk cannot be served.
    #[error("`{disk}` cannot be served")]
    Serve {
        /// The disk.
        disk: String,
        /// What is in the way.
        #[source]
        source: SourceError,
    },
    /// The server of a disk does not let us in.
    #[error("cannot connect to the NBD server of `{disk}`")]
    Connect {
        /// The disk.
        disk: String,
        /// What happened.
        #[source]
        source: NbdError,
    },
    /// A disk is served with another size than it has.
    #[error("`{disk}` has {said} bytes, but is served with {found}")]
    Size {
        /// The disk.
        disk: String,
        /// The size that it has.
        said: u64,
        /// The size that it is served with.
        found: u64,
    },
}

impl From<FileSourceError> for SourceFailure {
    fn from(error: FileSourceError) -> Self {
        use FileSourceError as E;
        let category = match &error {
            E::Place { .. } => Category::Unreachable,
            E::NotFound { .. } | E::Datacenter { .. } | E::NoSuchDisk { .. } => Category::NotFound,
            E::Ambiguous { .. } => Category::Ambiguous,
            E::Elsewhere { .. } | E::Traceless { .. } => Category::Refused,
            E::ChangedMeanwhile { .. }
            | E::Released
            | E::Lodging(_)
            | E::Serve { .. }
            | E::Connect { .. }
            | E::Size { .. } => Category::Other,
        };
        SourceFailure::new(category, error)
    }
}

impl From<SourceError> for SourceFailure {
    fn from(error: SourceError) -> Self {
        SourceFailure::new(category(&error), error)
    }
}

/// By what is in the way: the file as it is, or what passes.
fn category(error: &SourceError) -> Category {
    use SourceError as E;
    match error {
        E::Io { source, .. } => of_io(source),
        E::Archive {
            source: ArchiveError::Io { source, .. },
            ..
        } => of_io(source),
        E::Unpack { source, .. } => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Category::Refused
            }
            _ => Category::Other,
        },
        E::Open { source, .. } => match source {
            ProcessError::Failed { .. } => Category::Refused,
            _ => Category::Other,
        },
        E::Tool { .. }
        | E::ToolAnswer { .. }
        | E::Changed { .. }
        | E::NoSpace { .. }
        | E::Serve { .. }
        | E::NotReady { .. }
        | E::Cancelled => Category::Other,
        E::Spec { .. }
        | E::NotAFile { .. }
        | E::PathEncoding { .. }
        | E::FormatMismatch { .. }
        | E::Unsupported { .. }
        | E::BackingFile { .. }
        | E::DataFile { .. }
        | E::Reference { .. }
        | E::Corrupt { .. }
        | E::Archive { .. }
        | E::Ovf { .. }
        | E::Manifest { .. }
        | E::DocumentTooLarge { .. }
        | E::MissingFile { .. }
        | E::FileSize { .. }
        | E::Capacity { .. }
        | E::UnpackedTooLarge { .. }
        | E::UnpackRatio { .. } => Category::Refused,
    }
}

fn of_io(error: &io::Error) -> Category {
    match error.kind() {
        io::ErrorKind::NotFound => Category::NotFound,
        io::ErrorKind::PermissionDenied => Category::Refused,
        _ => Category::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind: io::ErrorKind) -> SourceFailure {
        SourceError::io("opening", "/srv/web.ova")(kind.into()).into()
    }

    #[test]
    fn what_passes_is_tried_again_and_a_file_that_is_wrong_is_not() {
        assert_eq!(io_error(io::ErrorKind::NotFound).category, Category::NotFound);
        assert!(io_error(io::ErrorKind::PermissionDenied).is_final());
        assert!(!io_error(io::ErrorKind::Interrupted).is_final());
        let changed = SourceError::Changed {
            path: "/srv/web.ova".into(),
        };
        assert!(!SourceFailure::from(changed).is_final());
        assert!(SourceFailure::from(SourceError::corrupt("web", "it is empty")).is_final());
        let unpacking = |kind: io::ErrorKind| {
            let error = SourceError::Unpack {
                file: "web".to_owned(),
                source: kind.into(),
            };
            SourceFailure::from(error).category
        };
        assert_eq!(unpacking(io::ErrorKind::InvalidInput), Category::Refused);
        assert_eq!(unpacking(io::ErrorKind::StorageFull), Category::Other);
    }
}
