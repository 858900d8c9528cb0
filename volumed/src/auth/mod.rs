//! Who asks, and what they may do.
//!
//! On the Unix socket the kernel tells who is at the other end, and the socket's mode (0660) tells who may connect. Over TCP a token
//! tells it; on the loopback one is needed only where the configuration says so. Any other address is served over TLS, and to
//! who brings a token.

mod access;
mod secret;
mod tokens;

pub use access::{Brought, Caller, Denied, Policy};
pub use secret::Secret;
pub use serving::Peer;
pub use tokens::{TokenError, Tokens, Wanted};
