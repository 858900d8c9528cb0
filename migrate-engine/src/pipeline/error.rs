//! Why a copy did not complete.

use volume_client::ClientError;
use volume_client::types::{VolumeId, VolumeState};

use crate::block::{BlockError, NbdError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::target::{ExportFailure, TargetError};
use crate::transfer::{JournalError, TransferError};

/// Why a copy did not complete. What was attached for it is detached again, and nothing copied is deleted.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The source is refused, or cannot be read. Nothing was created.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The daemon does not answer. Nothing was done.
    #[error("cannot reach the volume daemon")]
    Daemon(#[source] ClientError),
    /// The volume could not be had.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The volume could not be published.
    #[error(transparent)]
    Export(#[from] ExportFailure),
    /// An NBD address is none.
    #[error("cannot use NBD address `{uri}`: {why}")]
    Address {
        /// The address.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// An NBD server could not be used.
    #[error("cannot connect to `{uri}`")]
    Connect {
        /// Its address.
        uri: String,
        /// Why.
        #[source]
        source: NbdError,
    },
    /// The device could not be prepared for writing.
    #[error("cannot prepare device {path} of disk `{disk}`")]
    Device {
        /// The device.
        path: String,
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: BlockError,
    },
    /// Copying or reading back failed.
    #[error("cannot {doing} disk `{disk}`")]
    Transfer {
        /// `copy` or `read back`.
        doing: &'static str,
        /// The disk.
        disk: String,
        /// What the server of the source said last, where it said something.
        server: Option<String>,
        /// Why.
        #[source]
        source: Box<TransferError>,
    },
    /// Another run copies the disk.
    #[error("cannot remember how far the copy of disk `{disk}` is")]
    Journal {
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// What was read back is not what was read from the source.
    #[error("volume {volume} does not hold what disk `{disk}` holds: {what}; do not use it, and copy again")]
    Different {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Where they differ.
        what: String,
    },
    /// The source says one size and has another.
    #[error("disk `{disk}` says that it has {said} bytes, but its server has {found}")]
    SourceSize {
        /// The disk.
        disk: String,
        /// What was said.
        said: u64,
        /// What was found.
        found: u64,
    },
    /// A volume for this disk would be larger than any can be.
    #[error("disk `{disk}` has {capacity} bytes, and no volume can be that large with its buffer")]
    TooLarge {
        /// The disk.
        disk: String,
        /// Its capacity.
        capacity: u64,
    },
    /// The disk's volume holds a finished copy, or something that this engine knows nothing of.
    #[error("volume {volume} of disk `{disk}` {why}")]
    Occupied {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// What it holds.
        why: &'static str,
    },
    /// The daemon no longer believes that the device is ours.
    #[error("the lease on volume {volume} was lost while disk `{disk}` was copied; see the daemon's log")]
    LeaseLost {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
    },
    /// No volume, or more than one, is meant by what was given.
    #[error("there {} volume `{wanted}`", if ids.is_empty() { "is no" } else { "is more than one" })]
    Selection {
        /// What was given: an id or a name.
        wanted: String,
        /// Those that are meant.
        ids: Vec<VolumeId>,
    },
    /// The volume is to be published as it is attached, and is not.
    #[error("volume {volume} is not attached")]
    NotAttached {
        /// The volume.
        volume: VolumeId,
    },
    /// The volume is in a state in which it cannot be published.
    #[error("volume {volume} cannot be published: it is {state:?}")]
    Unpublishable {
        /// The volume.
        volume: VolumeId,
        /// Its state.
        state: VolumeState,
    },
    /// Nobody can be told where the exports are.
    #[error("cannot print where the exports are")]
    Untold(#[source] std::io::Error),
    /// The daemon no longer believes that the device of an export is ours.
    #[error("the export of volume {volume} has ended: the daemon ended its lease")]
    LeaseOfExportLost {
        /// The volume.
        volume: VolumeId,
    },
    /// The server of an export died, and no other could take its place.
    #[error("the export of volume {volume} has ended: its NBD server died")]
    ServerLost {
        /// The volume.
        volume: VolumeId,
        /// Why it could not be published again.
        #[source]
        source: ExportFailure,
    },
    /// The engine's records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody stopped it.
    #[error("stopped on request")]
    Cancelled,
    /// A defect of ours.
    #[error("a thread of the engine panicked")]
    Panicked,
}

impl PipelineError {
    /// Whether this is the end that somebody asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled | Self::Target(TargetError::Stopped) => true,
            Self::Transfer { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }

    /// Whether somebody else holds the volume's lease: then the volume is not ours to detach.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        matches!(self, Self::Target(error) if error.is_leased())
    }

    /// What a person can do, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Daemon(source) => source.hint(),
            Self::Target(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Selection { ids, .. } if ids.is_empty() => {
                Some("`volumectl volumes list` shows what there is".to_owned())
            }
            Self::Selection { ids, .. } => {
                let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
                Some(format!("say which by its id: {}", ids.join(", ")))
            }
            Self::NotAttached { .. } => Some("--attach attaches it".to_owned()),
            Self::LeaseOfExportLost { .. } => {
                Some("the daemon's log says more; `volumectl leases` tells who has the volume now".to_owned())
            }
            Self::ServerLost { source, .. } => source.hint(),
            Self::Occupied { .. } => Some("--overwrite writes over it".to_owned()),
            Self::Transfer { source, .. } if is_of_target(source) => Some(
                "is there room left where the volume is stored? The kernel's log (`dmesg`) may tell more"
                    .to_owned(),
            ),
            Self::Transfer {
                server: Some(words), ..
            } => last_words(words).map(|words| format!("the source's server said: {words}")),
            _ => None,
        }
    }
}

/// Whether the target would not take what it was given.
fn is_of_target(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Write { .. } | TransferError::Zero { .. } | TransferError::Flush { .. }
    )
}

/// What a server said last, without its complaints about our leaving.
fn last_words(words: &str) -> Option<&str> {
    let own = |line: &&str| !line.trim().is_empty() && !line.contains("Disconnect client");
    words.lines().rev().find(own).map(str::trim)
}
