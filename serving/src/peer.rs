//! The other end of a connection.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::unix::UCred;

/// The other end of a connection. Its text is what records and logs name as the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, by the kernel's word: the credentials that it had when it connected.
    Unix {
        /// Its effective user.
        uid: u32,
        /// Its process, as far as this daemon's PID namespace knows it.
        pid: Option<i32>,
    },
    /// A TCP address.
    Tcp(SocketAddr),
}

impl From<UCred> for Peer {
    fn from(cred: UCred) -> Self {
        Peer::Unix {
            uid: cred.uid(),
            pid: cred.pid(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unix { uid, pid: Some(pid) } => write!(f, "uid:{uid} pid:{pid}"),
            Peer::Unix { uid, pid: None } => write!(f, "uid:{uid}"),
            Peer::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Whether only this machine reaches an address.
#[must_use]
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_reads_as_what_it_is() {
        let unix = |pid| Peer::Unix { uid: 0, pid };
        assert_eq!(unix(Some(7)).to_string(), "uid:0 pid:7");
        assert_eq!(unix(None).to_string(), "uid:0");
        assert_eq!(
            Peer::Tcp("127.0.0.1:9".parse().unwrap()).to_string(),
            "tcp:127.0.0.1:9"
        );
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for good in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback(good.parse().unwrap()), "{good}");
        }
        for bad in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(!is_loopback(bad.parse().unwrap()), "{bad}");
        }
    }
}
