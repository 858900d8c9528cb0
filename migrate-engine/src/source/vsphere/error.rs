//! What can go wrong with a vCenter or a host, one variant per decision that the caller can take.

use std::time::Duration;

use super::TrustError;
use super::http::HttpError;
use super::inventory::DiskProblem;
use super::soap::{Fault, XmlError};

/// Why something could not be had from a vCenter or a host. Says what we were doing and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VsphereError {
    /// The certificates to trust cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no connection, no believable certificate, or no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// User name or password is wrong. Not tried again: hosts lock accounts after a few failures.
    #[error(
        "{endpoint} refuses user name or password of `{username}`: check both; after several failures the account is locked for some minutes"
    )]
    WrongCredentials {
        /// The vCenter or host.
        endpoint: String,
        /// Who we said to be.
        username: String,
    },
    /// The user may not do this.
    #[error("{endpoint} does not permit {method}: give the user the privilege {privilege}")]
    NoPermission {
        /// The vCenter or host.
        endpoint: String,
        /// What was called.
        method: &'static str,
        /// What is missing.
        privilege: String,
    },
    /// The session was ended by [`Session::logout`](super::Session::logout).
    #[error("the session with {endpoint} was ended: log in again")]
    LoggedOut {
        /// The vCenter or host.
        endpoint: String,
    },
    /// The call was refused.
    #[error("{endpoint} refuses {method}")]
    Fault {
        /// The vCenter or host.
        endpoint: String,
        /// What was called.
        method: &'static str,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// Something answers, but it is not the API.
    #[error(
        "{endpoint} answers {method} with HTTP {status} instead of a result: is it a vCenter or an ESXi host, and are its services up?"
    )]
    NotTheApi {
        /// The vCenter or host.
        endpoint: String,
        /// What was called.
        method: &'static str,
        /// The status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("cannot read the answer of {endpoint} to {method}")]
    Xml {
        /// The vCenter or host.
        endpoint: String,
        /// What was called.
        method: &'static str,
        /// What is wrong with it.
        #[source]
        source: XmlError,
    },
    /// The answer lacks what it must have.
    #[error("the answer of {endpoint} to {method} has no {missing}")]
    Shape {
        /// The vCenter or host.
        endpoint: String,
        /// What was called.
        method: &'static str,
        /// What is not in there.
        missing: &'static str,
    },
    /// No machine has this name, path or id.
    #[error(
        "no virtual machine `{wanted}` on {endpoint}: check the name, the datacenter, and that the user may see it"
    )]
    MachineNotFound {
        /// The vCenter or host.
        endpoint: String,
        /// What was looked for.
        wanted: String,
    },
    /// Several machines have this name.
    #[error("several virtual machines are called `{wanted}`: name one by its path: {}", paths.join(", "))]
    MachineAmbiguous {
        /// What was looked for.
        wanted: String,
        /// Those that have the name.
        paths: Vec<String>,
    },
    /// No datacenter has this name or path.
    #[error("no datacenter `{wanted}`: there is {}", present.join(", "))]
    DatacenterNotFound {
        /// What was looked for.
        wanted: String,
        /// Those that there are.
        present: Vec<String>,
    },
    /// The vCenter knows the machine, but not its configuration.
    #[error(
        "the configuration of `{machine}` cannot be read ({why}): see that its host and datastore are reachable"
    )]
    MachineIncomplete {
        /// Its path.
        machine: String,
        /// In what state it is.
        why: String,
    },
    /// The machine has no disk.
    #[error("`{machine}` has no disk: there is nothing to copy")]
    NoDisk {
        /// Its path.
        machine: String,
    },
    /// A disk cannot be copied.
    #[error("`{disk}` of `{machine}` cannot be copied: {problem}")]
    Disk {
        /// The machine's path.
        machine: String,
        /// The disk's label.
        disk: String,
        /// Why.
        problem: DiskProblem,
    },
    /// The machine cannot track changes.
    #[error(
        "`{machine}` cannot track changed blocks ({why}): upgrade its hardware to version 7 or newer, or copy it whole each time"
    )]
    TrackingUnsupported {
        /// Its path.
        machine: String,
        /// What says so.
        why: String,
    },
    /// The machine does not track changes.
    #[error(
        "changed blocks are not tracked for `{machine}`: turn tracking on, then make and remove a snapshot (or power it off and on)"
    )]
    TrackingOff {
        /// Its path, or its disk.
        machine: String,
    },
    /// There are snapshots where none may be.
    #[error("`{machine}` has snapshots ({}): remove or consolidate them first", names.join(", "))]
    SnapshotsInTheWay {
        /// Its path.
        machine: String,
        /// What they are called.
        names: Vec<String>,
    },
    /// There are snapshots of others, and what is written under them does not lie in the files that can be read.
    #[error(
        "`{machine}` has snapshots of others ({}): remove or consolidate them first, or have its disks read by VMware's own library (`vddk` in the file of sources)",
        names.join(", ")
    )]
    SnapshotsOfOthers {
        /// Its path.
        machine: String,
        /// What they are called.
        names: Vec<String>,
    },
    /// The snapshot is gone.
    #[error("the snapshot {snapshot} is gone: somebody removed it; begin the cycle again with a new one")]
    SnapshotGone {
        /// Its id.
        snapshot: String,
    },
    /// The task ended with an error.
    #[error("{endpoint} could not do {what} (task {task})")]
    TaskFailed {
        /// The vCenter or host.
        endpoint: String,
        /// What it was to do.
        what: &'static str,
        /// The task's id.
        task: String,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// The task has not ended yet: it may still succeed or fail.
    #[error(
        "{what} on {endpoint} has not ended within {waited:?} (task {task}): its outcome is unknown; wait for it again before anything else"
    )]
    TaskUnknown {
        /// The vCenter or host.
        endpoint: String,
        /// What it is to do.
        what: &'static str,
        /// The task's id.
        task: String,
        /// How long we waited.
        waited: Duration,
    },
}

impl VsphereError {
    /// Whether what was asked for may have happened, or may still happen, all the same: not failed, but unknown. Look at
    /// the world before trying again.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Http(error) => error.may_have_been_sent(),
            Self::TaskUnknown { .. } | Self::Xml { .. } | Self::Shape { .. } => true,
            // A proxy in front of the vCenter may have given up on it.
            Self::NotTheApi { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The fault behind it, if the vCenter told one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } | Self::TaskFailed { fault, .. } => Some(fault),
            _ => None,
        }
    }

    pub(super) fn is_fault(&self, kind: &str) -> bool {
        matches!(self, Self::Fault { fault, .. } if fault.is(kind))
    }
}
