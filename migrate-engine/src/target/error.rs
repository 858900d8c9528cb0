//! Why a volume could not be had or given back.

use volume_client::ClientError;
use volume_client::types::{ErrorCode, VolumeId, VolumeState};

use crate::model::Size;

/// Why a volume could not be had or given back.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The daemon said no, or did not answer.
    #[error("cannot {doing} for {subject}")]
    Daemon {
        /// What was tried.
        doing: &'static str,
        /// For what: a [`super::Subject`] in words.
        subject: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The volume that the disk has is too small for it.
    #[error("volume {volume} of disk `{disk}` has {has}, the disk needs {needs}")]
    TooSmall {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Its size.
        has: Size,
        /// What the disk needs at least.
        needs: Size,
    },
    /// The volume is in a state that a person must look at.
    #[error("volume {volume} of disk `{disk}` is {state:?}")]
    Unusable {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Its state.
        state: VolumeState,
    },
    /// Somebody stopped it; what was asked of the daemon was taken back where that was possible.
    #[error("stopped on request")]
    Stopped,
}

impl TargetError {
    /// Whether somebody else holds the volume's lease.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        matches!(self, Self::Daemon { source, .. } if source.code() == Some(ErrorCode::VolumeLeased))
    }

    /// Whether something was asked of the daemon, and it is not known here whether it happens.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::Daemon { source, .. } => source.outcome_unknown(),
            Self::Stopped => true,
            Self::TooSmall { .. } | Self::Unusable { .. } => false,
        }
    }

    /// What a person can do, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Daemon { source, .. } => source.hint(),
            Self::TooSmall { volume, .. } => Some(format!(
                "grow it with `volumectl volumes resize {volume} --size …`, or delete it, and copy again"
            )),
            Self::Unusable { volume, .. } => Some(format!("`volumectl volumes show {volume}` says more")),
            Self::Stopped => None,
        }
    }
}
