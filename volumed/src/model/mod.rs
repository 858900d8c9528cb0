//! Data and pure transitions of volumes, attachments and operations: no I/O, no clock.

mod bytes;
mod identity;

pub use bytes::Bytes;
pub use identity::{DevNum, Identity, IdentityParseError, Incarnation};
