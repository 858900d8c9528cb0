//! The path of a copy: source opened and judged, volume provisioned, attached and proven, bytes moved, flushed, read back,
//! everything given back. And the path of an export, which serves the proven device to others instead.

mod board;
mod disk;
mod error;
mod leftovers;
mod machine;
mod memory;
mod names;
mod place;
mod publication;
mod publisher;
mod replication;
mod route;
mod selection;
mod threads;
mod vigil;

pub use board::{Board, BoardWatch, Counts, Moved, Transfer};
pub use error::PipelineError;
pub use leftovers::clean_up_after;
pub use machine::{Copier, Doing, Watch};
pub use publisher::{Audience, Published, Publisher};
pub use replication::{Desk, Dispatcher, Refusal, ReplicationError, Replicator, Request};
