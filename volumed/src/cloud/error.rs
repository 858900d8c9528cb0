//! Why a provider did not do it: one variant per decision that the caller can take.

use std::time::Duration;

/// The cause below a [`CloudError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the cloud did not succeed. Only [`Unknown`](Self::Unknown) leaves open whether the call had its effect.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// What the call is about does not exist. Nothing happened.
    #[error("{what} does not exist")]
    NotFound {
        /// Kind and id, as in `volume 0190…`.
        what: String,
    },
    /// The volume is plugged into another VM than the call says. Nothing happened.
    #[error("volume {volume} is attached to VM {vm}")]
    AttachedElsewhere {
        /// The volume's provider reference.
        volume: String,
        /// The VM that has it.
        vm: String,
    },
    /// The present state is in the way; the same call may succeed once that has changed. Nothing happened.
    #[error("{doing}: {reason}")]
    Conflict {
        /// What was tried, with identifiers.
        doing: String,
        /// What is in the way.
        reason: String,
    },
    /// The request itself is wrong or forbidden; repeating it is pointless. Nothing happened.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was tried, with identifiers.
        doing: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No capacity or quota left. Nothing usable came into being.
    #[error("{doing}: no space left at the provider")]
    NoSpace {
        /// What was tried, with identifiers.
        doing: String,
        /// What the provider said.
        #[source]
        source: Option<Cause>,
    },
    /// It certainly did nothing, and trying again may help.
    #[error("{doing}: the provider could not do it this time")]
    Transient {
        /// What was tried, with identifiers.
        doing: String,
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
        /// What went wrong.
        #[source]
        source: Option<Cause>,
    },
    /// It may have happened, may yet happen, or may not: only evidence tells. Never to be repeated blindly as another call.
    #[error("{doing}: whether the provider did it is unknown")]
    Unknown {
        /// What was tried, with identifiers.
        doing: String,
        /// What went wrong.
        #[source]
        source: Option<Cause>,
    },
}

impl CloudError {
    /// Whether the call may have had, or may yet have, its effect.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, CloudError::Unknown { .. })
    }

    /// Whether the call certainly did nothing and the same call may succeed by itself later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, CloudError::Transient { .. })
    }

    /// The variant as a label for metrics: a closed set.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            CloudError::NotFound { .. } => "not_found",
            CloudError::AttachedElsewhere { .. } => "attached_elsewhere",
            CloudError::Conflict { .. } => "conflict",
            CloudError::Refused { .. } => "refused",
            CloudError::NoSpace { .. } => "no_space",
            CloudError::Transient { .. } => "transient",
            CloudError::Unknown { .. } => "unknown",
        }
    }
}
