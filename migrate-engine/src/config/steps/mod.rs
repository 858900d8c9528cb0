//! The configuration that an operator fills in step by step: platforms, source, machines, destination.
//!
//! It is one JSON file, `config.json`, which other programs and editors change too. Hence:
//!
//! - a step changes its own section; every other byte of the file stays ([`StepsFile::apply`]);
//! - a change is whole or not there: a new file is made beside the old one, made durable and renamed over it, under a lock;
//! - what is not understood is kept and noted ([`Note`]); what has the wrong type is refused by its name ([`Flaw`]);
//! - a running process follows the file, and goes on with the last good one where it is broken ([`StepsWatch`]).
//!
//! Sections that are not filled in yet are no error of the file: they are asked for when they are needed
//! ([`Steps::source`], [`Steps::proxmox`], [`Steps::kvm`], [`Steps::unfinished`]).

mod access;
mod change;
mod edit;
mod error;
mod field;
mod file;
mod lock;
mod note;
mod read;
mod replace;
mod section;
mod settings;
mod span;
#[cfg(test)]
mod tests;
mod watch;

pub use super::alarms::Pace;
pub use change::Change;
pub use error::{Flaw, StepsError, Unfinished};
pub use file::{Imported, StepsFile, import};
pub use note::Note;
pub use section::Section;
pub use settings::{
    Connection, Destination, KvmConnection, Login, Platforms, SourcePlatform, Steps, TargetPlatform,
    UnknownPlatformError,
};
pub use watch::StepsWatch;
