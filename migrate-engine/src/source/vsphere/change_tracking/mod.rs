//! Changed block tracking: which areas of a disk changed since a point in time.
//!
//! An answer is believed only where its pages tile the whole disk ([`coverage`]); hosts answer with some 2,000 areas a
//! page, and programs that read the first page only have lost people's data. Whatever is in doubt (another epoch, an
//! unknown id, a page that does not fit) does not fail: it says that a full copy is needed, and why.

mod change_id;
mod coverage;
mod enable;
mod query;
mod reason;
#[cfg(test)]
mod tests;

pub use change_id::{ChangeId, ChangeIdParseError};
pub use coverage::{Area, CoverageError, Page, coverage};
pub use enable::Enabled;
pub use query::{Changes, Since};
pub use reason::FullCopyReason;

/// What is made of an answer.
#[cfg(feature = "fuzzing")]
pub(super) fn page(response: &super::soap::Element) -> Option<Page> {
    query::page(response)
}
