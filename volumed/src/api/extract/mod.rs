//! Taking requests apart: ids in paths, queries, and the whole of a request that changes something.

mod command;
mod path;
mod query;

pub(super) use command::{Command, Empty, LONGEST_WAIT, claim};
pub(super) use path::At;
pub(super) use query::Params;
