//! HTTP/1.1 over TLS to one host: connections are kept, but nothing that changes something is ever sent twice.
//!
//! What changes something goes over a connection made for it: where none could be made, it is certain that nothing was
//! sent. What only reads may take a kept connection, and is repeated once over a new one when that turns out to be
//! dead. No redirects (a password would be sent to somebody else), no proxies, no answer without a bound.

mod channel;
mod connect;
mod error;
mod outgoing;

pub(super) use channel::{Answer, Arriving, Channel, Way};
pub use error::HttpError;
pub(super) use outgoing::{Care, Outgoing};
