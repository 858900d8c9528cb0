//! What service and worker say to each other, as JSON. Each side speaks one version, and refuses any other.

#[cfg(test)]
pub(super) mod testing;
mod text;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{DigestKind, MachineSpec};
use crate::source::{Category, Cycle, FrozenDisk, Mark, Wanted};

/// The version of what is said here.
pub const PROTOCOL: u32 = 1;

/// Names a call: whoever knows it may end it.
pub type CallId = Uuid;

/// A worker asks what there is to do, and tells what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// This process of the worker.
    pub instance: Uuid,
    /// Of what it speaks.
    pub protocol: u32,
    /// Its program's version, for people.
    pub version: String,
    /// The calls that it knows of and whose outcome was not taken yet.
    pub busy_with: Vec<CallId>,
    /// What it holds frozen, by the calls that froze it.
    pub holds: Vec<CallId>,
    /// Whether it ends, and takes nothing new.
    pub leaves: bool,
}

/// What there is to do.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    /// New calls.
    pub calls: Vec<Call>,
    /// Calls that nobody waits for any more.
    pub cancelled: Vec<CallId>,
    /// What need not be held any more: it is let go of as it is, and not cleaned up.
    pub forget: Vec<CallId>,
}

/// Something to be done at a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// The source, as the worker's file of sources names it.
    pub host: String,
    /// For which job, for people who follow it; not every call is for one.
    #[serde(default)]
    pub job: Option<String>,
    /// What to do.
    pub ask: Ask,
}

/// What to do. Disks and machines are named as the source names them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// [`Source::machines`](crate::source::Source::machines).
    Machines(Wanted),
    /// [`Source::machine`](crate::source::Source::machine).
    Machine {
        /// A path, an id or a name.
        wanted: String,
        /// Where it is looked for.
        datacenter: Option<String>,
    },
    /// [`Source::freeze`](crate::source::Source::freeze). What is frozen has the name of this call.
    Freeze {
        /// The machine.
        machine: Box<MachineSpec>,
        /// For which cycle.
        cycle: Cycle,
    },
    /// [`Source::clean_up`](crate::source::Source::clean_up).
    CleanUp {
        /// The machine.
        machine: Box<MachineSpec>,
        /// Whose.
        owner: String,
    },
    /// [`Frozen::changes`](crate::source::Frozen::changes).
    Changes {
        /// What is frozen.
        frozen: CallId,
        /// A disk of it.
        disk: String,
        /// Where an earlier cycle ended.
        since: Option<Mark>,
    },
    /// Read a disk, and write it through the tunnel of this call.
    Copy {
        /// What is frozen.
        frozen: CallId,
        /// A disk of it.
        disk: String,
        /// How.
        order: Box<Order>,
    },
    /// [`Frozen::check`](crate::source::Frozen::check).
    Check {
        /// What is frozen.
        frozen: CallId,
    },
    /// [`Frozen::release`](crate::source::Frozen::release).
    Release {
        /// What is frozen.
        frozen: CallId,
    },
}

/// How a disk is copied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What of it.
    pub scope: ScopeText,
    /// What is in use of it, where that is known.
    pub allocated: Option<Ranges>,
    /// The export's name, at the end of the tunnel.
    pub export: String,
    /// Size of the target in bytes.
    pub target_size: u64,
    /// Whether the target is known to be zero.
    pub target_is_zero: bool,
    /// How blocks are hashed, where everything is copied.
    pub digest: DigestKind,
    /// Most connections.
    pub workers: usize,
    /// What is durable from before, where that is written down.
    pub durable: Option<Octets>,
    /// Most bytes a second, to begin with.
    pub rate: Option<u64>,
}

/// What of a disk is copied, as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeText {
    /// All.
    Everything,
    /// These ranges.
    Changed {
        /// To what the target was equal.
        base: DigestText,
        /// In bytes.
        ranges: Ranges,
    },
    /// What differs.
    Differing {
        /// To what the target is equal.
        base: DigestText,
    },
}

/// What came of a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of [`Ask::Machines`].
    Machines(Vec<MachineSpec>),
    /// Of [`Ask::Machine`].
    Machine(Box<MachineSpec>),
    /// Of [`Ask::Freeze`].
    Frozen(Vec<FrozenDisk>),
    /// Of [`Ask::Changes`].
    Changes(ChangesText),
    /// Of [`Ask::Copy`].
    Copied {
        /// What was moved.
        totals: TotalsText,
        /// What was read.
        digest: DigestText,
    },
    /// Of the others.
    Done,
}

/// [`Changes`](crate::source::Changes), as they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangesText {
    /// Only these ranges.
    Since(Ranges),
    /// All.
    All {
        /// Why not only what changed.
        reason: Option<String>,
        /// What is in use.
        allocated: Option<Ranges>,
    },
}

/// Why a call did not get to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the caller can do.
    pub category: Category,
    /// Whether it may have happened all the same.
    pub is_unknown: bool,
    /// Why, with its causes.
    pub why: String,
}

/// The outcome of a call.
pub type Outcome = Result<Answer, Failure>;

/// How far a copy is. In bytes, as [`Snapshot`](crate::transfer::Snapshot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is documented where it is counted")]
pub struct Moved {
    pub phase: PhaseWord,
    pub total_bytes: u64,
    pub data_bytes: u64,
    pub data_done: u64,
    pub bytes_written: u64,
    pub zero_skipped: u64,
    pub data_resumed: u64,
    pub zero_found: u64,
    pub bytes_zeroed: u64,
}

/// [`Phase`](crate::transfer::Phase), as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is documented at Phase")]
pub enum PhaseWord {
    Waiting,
    Mapping,
    Copying,
    Flushing,
    Verifying,
    Finished,
}

/// How a copy is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steer {
    /// Most bytes a second; no cap where absent.
    pub rate: Option<u64>,
    /// Whether it is to end now, in order: what was written is made durable, and told.
    pub is_to_end: bool,
}

/// [`CopyTotals`](crate::transfer::CopyTotals), as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is documented where it is counted")]
pub struct TotalsText {
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub bytes_skipped: u64,
    pub bytes_found_zero: u64,
    pub bytes_zeroed: u64,
    pub bytes_resumed: u64,
}

/// Ranges in bytes, each as its begin and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

/// Bytes, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Octets(String);

/// A disk's digest: its root, and those of its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestText {
    root: String,
    blocks: Octets,
}

/// What the other side said cannot be meant: it is another version of us, or none of us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the other side said makes no sense: {what}")]
pub struct SenseError {
    /// What of it.
    pub what: &'static str,
}
