//! What a source must offer so that its machines can be replicated: found anew, frozen for one cycle, read, and let go.
//!
//! A cycle: [`Source::machine`], [`Source::freeze`], [`Frozen::changes`] and [`Frozen::reader`] for each disk, and
//! [`Frozen::release`] on every way out. The conformance suite (`migrate-engine/tests/sources`) holds every
//! implementation to what is written here.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::courier::Courier;
use crate::block::BlockRead;
use crate::model::MachineSpec;

/// A place where machines are.
#[async_trait]
pub trait Source: Send + Sync {
    /// What it is, for people and records: a vCenter's name, a file. Never a secret.
    fn place(&self) -> String;

    /// The machines that there are now. Those that cannot be copied are among them, and say why.
    ///
    /// # Errors
    /// What keeps us from the source.
    async fn machines(&self, wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure>;

    /// The one machine of this path, id or name, as it is now.
    ///
    /// # Errors
    /// [`Category::NotFound`], [`Category::Ambiguous`]; [`Category::Refused`] for one without disks, or with a disk that
    /// cannot be copied.
    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure>;

    /// Freezes the disks of a machine for one cycle. What earlier cycles of the same owner left is removed before. Repeated
    /// for the same cycle, also by another process after a crash, it gives the same frozen content where that is still
    /// there, which [`FrozenDisk::content`] tells.
    ///
    /// # Errors
    /// What keeps it from being frozen; nothing of ours is left then, unless [`SourceFailure::is_unknown`] says that it may be.
    async fn freeze(&self, machine: &MachineSpec, cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure>;

    /// Removes what cycles of this owner left at the machine, whichever they were. Repeating it is harmless.
    ///
    /// # Errors
    /// What could not be removed.
    async fn clean_up(&self, machine: &MachineSpec, owner: &str) -> Result<(), SourceFailure>;
}

/// A machine's disks, as they were at one moment.
#[async_trait]
pub trait Frozen: Send + Sync {
    /// The disks, in the machine's order.
    fn disks(&self) -> &[FrozenDisk];

    /// What to read of a disk. `since` is the mark of an earlier cycle and the disk's size then.
    ///
    /// # Errors
    /// What keeps us from asking. That the source does not know is no error: it is [`Changes::All`].
    async fn changes(&self, disk: &FrozenDisk, since: Option<&Mark>) -> Result<Changes, SourceFailure>;

    /// Reads the disk. `allocated` is what [`Changes::All`] told of it.
    ///
    /// # Errors
    /// What keeps us from its bytes.
    async fn reader(
        &self,
        disk: &FrozenDisk,
        allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<Arc<dyn BlockRead>, SourceFailure>;

    /// Who copies the disks from where they are, for those that are not to be read here: [`reader`](Self::reader) is not
    /// called then.
    fn courier(&self) -> Option<&dyn Courier> {
        None
    }

    /// To be called after the last read, before what was read is believed: whether it stayed frozen all the time.
    ///
    /// # Errors
    /// That it did not, or that it cannot be told.
    async fn check(&self) -> Result<(), SourceFailure>;

    /// Lets go of it all. Readers must be gone before. Repeating it is harmless.
    ///
    /// # Errors
    /// What could not be removed; the next cycle of the same owner tries again.
    async fn release(&self) -> Result<(), SourceFailure>;
}

/// Which machines are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The name, path or id of a machine; all where absent.
    pub machine: Option<String>,
    /// The name or path of a datacenter; all where absent.
    pub datacenter: Option<String>,
}

/// One pass of a replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Names it: unique among those of its owner.
    pub name: String,
    /// Whose it is: this engine on this appliance. Nothing of other owners is touched.
    pub owner: String,
}

/// A disk as it was frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenDisk {
    /// As [`DiskSpec::id`](crate::model::DiskSpec::id).
    pub id: String,
    /// What people call it.
    pub label: String,
    /// Its size in bytes.
    pub capacity: u64,
    /// To go on from next time: to be kept once the copy is durable. `None` where the source keeps no track.
    pub mark: Option<String>,
    /// Names the content: the same name is surely the same bytes. `None` where nothing tells.
    pub content: Option<String>,
}

/// Where an earlier cycle ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// [`FrozenDisk::mark`] of then.
    pub mark: String,
    /// The disk's size then, in bytes.
    pub capacity: u64,
}

/// What of a disk has to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Only these ranges: everything else is as it was at the mark. In order, disjoint.
    Since(Arc<[Range<u64>]>),
    /// All of it.
    All {
        /// Why not only what changed, where that was asked for.
        reason: Option<String>,
        /// The ranges that are in use, where the source tells: all else reads as zeroes.
        allocated: Option<Arc<[Range<u64>]>>,
    },
}

/// What the caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// No machine is meant by what was asked for.
    NotFound,
    /// Several machines are.
    Ambiguous,
    /// The source refuses our name or password.
    Credentials,
    /// The source's certificate is not the one to be believed, or cannot be judged.
    Trust,
    /// The source cannot be reached, or does not answer.
    Unreachable,
    /// The worker beside the source is not there, or was lost under the work.
    Away,
    /// The machine is not fit for it, and will not be by waiting.
    Refused,
    /// Something else: it may pass.
    Other,
}

/// Why a source did not do what it was asked for. Says what to do.
#[derive(Debug)]
pub struct SourceFailure {
    /// What the caller can do.
    pub category: Category,
    /// Whether it may have happened, or may still happen, all the same.
    pub is_unknown: bool,
    why: Box<dyn StdError + Send + Sync>,
}

impl SourceFailure {
    /// A failure of this category.
    pub fn new(category: Category, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            category,
            is_unknown: false,
            why: why.into(),
        }
    }

    /// The same, of which it is not known whether it happened all the same.
    #[must_use]
    pub fn unknown_if(self, is_unknown: bool) -> Self {
        Self { is_unknown, ..self }
    }

    /// Whether trying again, as things are, must end the same.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(
            self.category,
            Category::Unreachable | Category::Away | Category::Other
        )
    }
}

/// As what it stands for: this adds nothing to its words.
impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl StdError for SourceFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.why.source()
    }
}
