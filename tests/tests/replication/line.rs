//! A line between worker and service that can be cut.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Carries connections to a port, until it is cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    carried: Arc<Mutex<Carried>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Carried {
    is_cut: bool,
    connections: JoinSet<()>,
}

impl Wire {
    /// A wire to `port` of the loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let carried = Arc::new(Mutex::new(Carried::default()));
        let ours = Arc::clone(&carried);
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut carried = ours.lock();
                if carried.is_cut {
                    continue;
                }
                carried.connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self {
            port: own,
            carried,
            accepting,
        }
    }

    /// Breaks what it carries, and carries nothing.
    pub(crate) fn cut(&self) {
        let mut carried = self.carried.lock();
        carried.is_cut = true;
        carried.connections.abort_all();
    }

    /// Carries again.
    pub(crate) fn mend(&self) {
        self.carried.lock().is_cut = false;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
