//! What a service has around its HTTP API: the sockets it is reached on, TLS, connections within bounds, and the service
//! manager that started it.
//!
//! Knows nothing of volumes and machines, and nothing of what is served: an API is an [`axum::Router`] whose requests carry
//! the [`Peer`] as an extension.

pub mod certificate;
mod connections;
pub mod descriptors;
mod door;
mod handshake;
mod inherited;
mod limits;
mod listener;
mod patient;
mod peer;
mod rate;
mod room;
pub mod service_manager;
mod socket;
mod validity;

pub use certificate::{Certificate, CertificateError, CertificateFiles, Clients};
pub use connections::Server;
pub use door::{Door, NotLoopback};
pub use handshake::ClientName;
pub use inherited::Inherited;
pub use limits::Limits;
pub use listener::{ListenError, Listener};
pub use patient::came_too_slowly;
pub use peer::{Peer, is_loopback};
pub use rate::Rate;
pub use socket::{SocketError, SocketFile};
