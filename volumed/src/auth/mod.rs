//! Who asks, and who may reach the daemon at all.
//!
//! On the Unix socket the kernel tells who is at the other end, and the socket's mode (0660) tells who may connect; on
//! TCP nobody tells, so only loopback addresses are served. Tokens with scopes, and TLS for other addresses, do not
//! exist yet: until they do, whoever can connect may do everything, and [`require_loopback`] refuses the rest.

mod peer;
mod socket;

pub use peer::{NotLoopback, Peer, require_loopback};
pub use socket::{SocketError, SocketFile};
