//! What a service has around its HTTP API: the sockets it is reached on, TLS, connections within bounds, and the service
//! manager that started it.
//!
//! Knows nothing of volumes and machines, and nothing of what is served: an API is an [`axum::Router`] whose requests carry
//! the [`Peer`] as an extension.

pub mod certificate;
mod connections;
mod door;
mod handshake;
mod inherited;
mod limits;
mod listener;
pub mod manager;
mod peer;
mod room;
mod socket;

pub use certificate::{Certificate, CertificateError, CertificateFiles};
pub use connections::Server;
pub use door::{Door, NotLoopback};
pub use inherited::Inherited;
pub use limits::Limits;
pub use listener::{ListenError, Listener};
pub use peer::{Peer, is_loopback};
pub use socket::{SocketError, SocketFile};
