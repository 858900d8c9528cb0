//! How much callers may take of a service.

use std::time::Duration;

/// How much callers may take of a service. What is not said of a connection here is bounded by the API itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once over TCP, and as many more over Unix sockets: who fills the one does not keep the other from
    /// being served. More wait to be accepted.
    pub connections: usize,
    /// Connections at once from one address, or from one user over Unix sockets; more are closed. Root's own are not counted.
    pub connections_per_peer: usize,
    /// How long a request's head may take; a connection may be idle as long.
    pub header_timeout: Duration,
    /// The largest head of a request, in bytes.
    pub header_bytes: usize,
    /// How long a TLS handshake may take, with the wait for its turn.
    pub handshake_timeout: Duration,
    /// TLS handshakes at once.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_per_peer: 512,
            header_timeout: Duration::from_secs(30),
            header_bytes: 64 << 10,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 64,
        }
    }
}
