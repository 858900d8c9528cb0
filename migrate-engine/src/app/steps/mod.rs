//! The four steps on the command line: each verifies what it can, then writes its own section, and nothing else.

mod destination;
mod list;
mod platforms;
mod select;
mod show;
mod source;

use super::human;
use super::plain::plain;
use crate::config::steps::Note;

pub use destination::{Kvm, kvm, proxmox};
pub use platforms::platforms;
pub use select::select;
pub use show::{import, show};
pub use source::source;

/// What an operator should know of the file. Whoever writes it has said it already, in its log.
fn say_notes(notes: &[Note]) {
    for note in notes {
        human::say(&plain(&format!("note: {note}")));
    }
}
