//! What can go wrong with VMware's library and the nbdkit that runs it.

use std::io;
use std::path::PathBuf;

use super::arguments::FILTERS;
use crate::block::{BlockError, NbdError};
use crate::process::ProcessError;
use crate::source::{Category, SourceFailure};

/// Why a disk could not be read through VMware's library. Says what to do, and what nbdkit said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VddkError {
    /// The library is not where the file of sources says.
    #[error(
        "VMware's VDDK is not in {}: unpack it there (there has to be lib64/libvixDiskLib.so in it), or correct `vddk` in the file of sources",
        libdir.display()
    )]
    NoLibrary {
        /// Where it was looked for.
        libdir: PathBuf,
    },
    /// nbdkit cannot be run.
    #[error(
        "VMware's VDDK is run by nbdkit, which cannot be started: install it, or correct `nbdkit` in the file of sources"
    )]
    NoNbdkit {
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// nbdkit does not load the plugin.
    #[error(
        "nbdkit cannot load its plugin `{}`: install nbdkit-plugin-vddk (Debian 13, contrib) or nbdkit-vddk-plugin (Fedora), or name its file by `vddk_plugin` in the file of sources",
        plugin.display()
    )]
    NoPlugin {
        /// The plugin.
        plugin: PathBuf,
        /// What nbdkit said.
        #[source]
        source: ProcessError,
    },
    /// nbdkit loads something else.
    #[error("nbdkit's plugin `{}` is not the one for VDDK, but `{name}`: correct `vddk_plugin` in the file of sources", plugin.display())]
    AnotherPlugin {
        /// The plugin.
        plugin: PathBuf,
        /// What it calls itself.
        name: String,
    },
    /// nbdkit lacks filters.
    #[error("nbdkit cannot load its filters {}: install the whole of nbdkit (Debian: the package nbdkit)", FILTERS.join(", "))]
    NoFilters {
        /// What nbdkit said.
        #[source]
        source: ProcessError,
    },
    /// The plugin does not load the library.
    #[error(
        "nbdkit's plugin, which has to be of version 1.30 or newer, cannot load VMware's VDDK in {}: unpack the whole of one there that the plugin knows{}",
        libdir.display(), said(words)
    )]
    NoLoad {
        /// Where it is.
        libdir: PathBuf,
        /// What nbdkit said.
        words: String,
    },
    /// The password cannot be handed on.
    #[error(
        "the password has a line break or a zero byte, which nbdkit cannot be given: choose another password"
    )]
    Password,
    /// No certificate was seen yet.
    #[error(
        "no certificate of {server} was seen, so VMware's library cannot be told whom to believe: try again"
    )]
    NoThumbprint {
        /// The vCenter or host.
        server: String,
    },
    /// A folder or file of ours could not be made.
    #[error("making a private folder for nbdkit in {}", run_dir.display())]
    Folder {
        /// Where.
        run_dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder's name is too long for a socket.
    #[error("{} is too long a name for a folder with a socket: name a shorter runtime directory", run_dir.display())]
    LongPath {
        /// Where.
        run_dir: PathBuf,
    },
    /// nbdkit ended before it served.
    #[error("nbdkit with VMware's library did not start for `{disk}`{}", said(words))]
    Start {
        /// The disk's label.
        disk: String,
        /// What nbdkit said.
        words: String,
        /// How it ended.
        #[source]
        source: io::Error,
    },
    /// nbdkit did not serve in time.
    #[error(
        "nbdkit with VMware's library was not ready for `{disk}` within {seconds} s{}",
        said(words)
    )]
    NotReady {
        /// The disk's label.
        disk: String,
        /// How long we waited.
        seconds: u64,
        /// What nbdkit said.
        words: String,
    },
    /// The library does not open the disk.
    #[error("VMware's library does not open `{disk}`{}", said(words))]
    Open {
        /// The disk's label.
        disk: String,
        /// What nbdkit said: the reason stands here, and not in the NBD error.
        words: String,
        /// What came of the connection.
        #[source]
        source: NbdError,
    },
    /// The library opened another disk than the one that was frozen.
    #[error(
        "VMware's library tells {found} bytes for `{disk}`, and its snapshot {told}: begin the cycle again with a new snapshot"
    )]
    Size {
        /// The disk's label.
        disk: String,
        /// What the snapshot's disk has, in bytes.
        told: u64,
        /// What the library gives, in bytes.
        found: u64,
    },
    /// A read failed.
    #[error("VMware's library did not read from `{disk}`{}", said(words))]
    Read {
        /// The disk's label.
        disk: String,
        /// What nbdkit said.
        words: String,
        /// What came of the request.
        #[source]
        source: BlockError,
    },
    /// We are about to end.
    #[error("the connection to nbdkit was given up, because the program ends")]
    Ending,
}

impl From<VddkError> for SourceFailure {
    fn from(error: VddkError) -> Self {
        let category = match &error {
            VddkError::NoLibrary { .. }
            | VddkError::NoNbdkit { .. }
            | VddkError::NoPlugin { .. }
            | VddkError::AnotherPlugin { .. }
            | VddkError::NoFilters { .. }
            | VddkError::NoLoad { .. }
            | VddkError::Password
            | VddkError::LongPath { .. } => Category::Refused,
            _ => Category::Other,
        };
        SourceFailure::new(category, error)
    }
}

/// `: …` with the last words of nbdkit on one line, or nothing.
fn said(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(": {words}"),
    }
}
