//! Why an attempt at a replication did not get to its end.

use volume_client::ClientError;

use crate::model::chain;
use crate::pipeline::PipelineError;
use crate::source::{Category, SourceFailure};
use crate::store::StoreError;
use crate::target::{ExportFailure, TargetError};

/// What to do about a worker that is away.
const WORKER: &str =
    "see that `migrate-engine worker` runs beside the source and reaches this service, then retry";

/// Why an attempt did not get to its end. What was taken for it was given back, as far as that could be done.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The source did not do its part.
    #[error(transparent)]
    Source(#[from] SourceFailure),
    /// The worker beside the source was lost under a copy that had moved something.
    #[error("the worker was lost while disk `{disk}` was on its way")]
    Line {
        /// The disk.
        disk: String,
        /// How it was lost.
        #[source]
        source: SourceFailure,
    },
    /// The daemon does not answer.
    #[error("cannot reach the volume daemon")]
    Daemon(#[source] ClientError),
    /// A volume could not be had, or a disk not be copied.
    #[error(transparent)]
    Disk(#[from] PipelineError),
    /// A disk of the frozen machine is not one of those that were analysed.
    #[error("disk `{disk}` is gone from the snapshot, or has another size there: it was changed meanwhile")]
    DiskChanged {
        /// The disk.
        disk: String,
    },
    /// What an earlier attempt left at the source could not be looked for.
    #[error(
        "a snapshot may be left at the source, which lets us in no more: remove those that begin with `volumed`"
    )]
    Unsought,
    /// The engine's records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody stopped it.
    #[error("stopped on request")]
    Cancelled,
}

impl From<TargetError> for ReplicationError {
    fn from(error: TargetError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<ExportFailure> for ReplicationError {
    fn from(error: ExportFailure) -> Self {
        Self::Disk(error.into())
    }
}

impl ReplicationError {
    /// Whether this is the end that somebody asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Disk(error) => error.is_cancelled(),
            _ => false,
        }
    }

    /// Whether another attempt works on the job by now: this one has nothing to say any more.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::Store(StoreError::Superseded { .. }))
    }

    /// Whether another attempt, as things are, must end the same.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Source(failure) => failure.is_final(),
            Self::Disk(PipelineError::TooLarge { .. } | PipelineError::Different { .. }) => true,
            Self::Disk(PipelineError::Target(error)) => {
                matches!(error, TargetError::TooSmall { .. } | TargetError::Unusable { .. })
            }
            Self::Cancelled => true,
            _ => false,
        }
    }

    /// Whether it got ahead before it failed, and will from there: it does not count among the attempts.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        matches!(self, Self::Line { .. })
    }

    /// Whether the worker beside the source is not there, or went away under it.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.is_progress() || matches!(self, Self::Source(failure) if failure.category == Category::Away)
    }

    /// Whether the source does not let us in.
    #[must_use]
    pub fn is_refused_login(&self) -> bool {
        matches!(self, Self::Source(failure) if failure.category == Category::Credentials)
    }

    /// For programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(failure) => match failure.category {
                Category::NotFound => "vm_not_found",
                Category::Ambiguous => "vm_ambiguous",
                Category::Credentials => "source_credentials",
                Category::Trust => "source_certificate",
                Category::Unreachable => "source_unreachable",
                Category::Away => "worker_away",
                Category::Refused => "vm_refused",
                Category::Other => "source_failed",
            },
            Self::Line { .. } => "worker_away",
            Self::Daemon(_) => "volumed_unreachable",
            Self::Disk(PipelineError::Different { .. }) => "verification_failed",
            Self::Disk(PipelineError::Target(TargetError::TooSmall { .. })) => "volume_too_small",
            Self::Disk(PipelineError::Transfer { .. }) => "transfer_failed",
            Self::Disk(_) => "volume_failed",
            Self::DiskChanged { .. } => "disk_changed",
            Self::Unsought => "source_credentials",
            Self::Store(_) => "records_failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a person can do, where that is known beyond the words of the error.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Daemon(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Source(failure) if failure.category == Category::Away => Some(WORKER.to_owned()),
            Self::Line { .. } => Some(WORKER.to_owned()),
            Self::DiskChanged { .. } => Some("start the replication again".to_owned()),
            _ => None,
        }
    }

    /// With its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self)
    }
}
