//! What a migration of disks is about: sizes, names, and what is reported of them. Data only.

mod chain;
mod digest_kind;
mod machine;
mod replication;
mod report;
mod secret;
mod selection;
mod size;

pub use chain::chain;
pub use digest_kind::{DigestKind, ParseDigestKindError};
pub use machine::{DiskSpec, MachineSpec, NetworkSpec};
pub use replication::{JobStatus, Phase, ReplicationType, Step, UnknownWord};
pub use report::{CopyReport, DigestReport, DiskReport, Outcome, Route};
pub use secret::Secret;
pub use selection::{ParsedSelection, Selection, SelectionError};
pub use size::{Size, SizeParseError, volume_size};
