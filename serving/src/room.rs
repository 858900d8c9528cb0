//! How many connections there are: in all, and of each peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limits, Listener, Peer};

/// The places for connections, shared by the doors of a service.
#[derive(Debug)]
pub(crate) struct Room {
    unix: Arc<Semaphore>,
    tcp: Arc<Semaphore>,
    handshakes: Semaphore,
    per_peer: usize,
    peers: Counts,
}

/// How many connections each has; who has none is not in it.
type Counts = Arc<Mutex<HashMap<Whose, usize>>>;

/// Whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    User(u32),
    Address(IpAddr),
}

/// A connection's place; dropped, it is free for another one.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<(Whose, Counts)>,
}

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            unix: Arc::new(Semaphore::new(limits.connections)),
            tcp: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Semaphore::new(limits.handshakes),
            per_peer: limits.connections_per_peer,
            peers: Arc::default(),
        }
    }

    /// Waits until there is room for one more at this kind of socket.
    pub(crate) async fn wait(&self, listener: &Listener) -> OwnedSemaphorePermit {
        let room = match listener {
            Listener::Unix(_) => &self.unix,
            Listener::Tcp(..) => &self.tcp,
        };
        let permit = Arc::clone(room).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// The turns of TLS handshakes.
    pub(crate) fn handshakes(&self) -> &Semaphore {
        &self.handshakes
    }

    /// A place for this peer; `None` where it has as many as it may.
    pub(crate) fn place(&self, permit: OwnedSemaphorePermit, peer: &Peer) -> Option<Place> {
        let whose = match *peer {
            Peer::Unix { uid: 0, .. } => None,
            Peer::Unix { uid, .. } => Some(Whose::User(uid)),
            Peer::Tcp(address) => Some(Whose::Address(address.ip().to_canonical())),
        };
        if let Some(whose) = whose {
            let mut peers = self.peers.lock();
            let count = peers.entry(whose).or_default();
            if *count >= self.per_peer {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            _permit: permit,
            counted: whose.map(|whose| (whose, Arc::clone(&self.peers))),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((whose, peers)) = &self.counted {
            let mut peers = peers.lock();
            if let Some(count) = peers.get_mut(whose) {
                *count -= 1;
                if *count == 0 {
                    peers.remove(whose);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_peer_has_its_share_and_root_what_it_needs() {
        let limits = Limits {
            connections: 8,
            connections_per_peer: 1,
            ..Limits::default()
        };
        let room = Room::new(&limits);
        let place = |peer: Peer| room.place(Arc::clone(&room.tcp).try_acquire_owned().unwrap(), &peer);
        let peer = |text: &str| Peer::Tcp(text.parse().unwrap());
        let first = place(peer("192.0.2.1:1")).unwrap();
        assert!(place(peer("[::ffff:192.0.2.1]:2")).is_none(), "the same address");
        let _other = place(peer("192.0.2.2:1")).unwrap();
        let root = Peer::Unix { uid: 0, pid: None };
        let _root = [place(root).unwrap(), place(root).unwrap()];
        drop(first);
        assert!(place(peer("192.0.2.1:3")).is_some());
        assert_eq!(room.peers.lock().len(), 1, "who has none is forgotten");
        assert_eq!(room.tcp.available_permits(), 5);
    }
}
