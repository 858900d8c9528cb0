//! The engine's API on a port of the loopback, for as long as the work lasts.

use std::net::SocketAddr;

use anyhow::ensure;
use serving::{Door, Limits, Listener, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::human;
use crate::api::{self, Api};
use crate::pipeline::Board;

/// An API that is served. Dropped without [`Service::end`], it breaks off.
pub struct Service {
    serving: JoinHandle<()>,
    stopping: CancellationToken,
}

impl Service {
    /// Serves the transfers of `board`, and says where; port 0 takes a free one.
    ///
    /// # Errors
    /// An address that others can reach (there are neither tokens nor TLS here yet), or one that cannot be had.
    pub async fn begin(address: SocketAddr, board: Board) -> anyhow::Result<Self> {
        ensure!(
            address.ip().to_canonical().is_loopback(),
            "cannot serve on {address}: only on the loopback, such as 127.0.0.1:8082, as this API asks nobody who they are"
        );
        let door = Door::near(Listener::tcp(address)?)?;
        human::say(&format!("progress: {door}/api/v1/transfers"));
        let stopping = CancellationToken::new();
        let api = Api {
            board,
            stopping: stopping.clone(),
            desk: None,
        };
        let answering = Server::new(Limits::default()).answer(door, api::router(api), stopping.clone());
        Ok(Self {
            serving: tokio::spawn(answering),
            stopping,
        })
    }

    /// Ends streams and lets answers end; who keeps a connection open is not waited for.
    pub async fn end(mut self) {
        self.stopping.cancel();
        let patience = std::time::Duration::from_secs(1);
        match tokio::time::timeout(patience, &mut self.serving).await {
            Ok(_) => {}
            Err(_) => tracing::debug!("a connection to the API is still open"),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
