//! `cargo xtask bench`: our programs against the ones people use today, in one run on one machine.

mod api;
mod attach;
mod cases;
mod copy;
mod machine;
mod many;
mod recovery;
mod report;
mod source;
mod tools;

pub(crate) use api::{ApiArgs, api};
pub(crate) use attach::{AttachArgs, attach};
pub(crate) use copy::{CopyArgs, copy};
pub(crate) use recovery::{RecoveryArgs, recovery};
