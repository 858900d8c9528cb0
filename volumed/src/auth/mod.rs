//! Who asks.
//!
//! On the Unix socket the kernel tells who is at the other end, and the socket's mode (0660) tells who may connect; on
//! TCP nobody tells, so only loopback addresses are served, and whoever can connect may do everything.

pub use serving::Peer;
