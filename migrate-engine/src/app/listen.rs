//! The engine's API on a port of the loopback, for as long as the work lasts.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::human;
use crate::api::{self, Api};
use crate::pipeline::Board;

/// An API that is served. Dropped without [`Service::end`], it breaks off.
pub struct Service {
    serving: JoinHandle<std::io::Result<()>>,
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
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve on {address}; give another port, or end who has it"))?;
        human::say(&format!(
            "progress: http://{}/api/v1/transfers",
            listener.local_addr()?
        ));
        let stopping = CancellationToken::new();
        let stopped = stopping.clone();
        let api = Api {
            board,
            stopping: stopping.clone(),
            desk: None,
            expiry: None,
        };
        let serving = axum::serve(listener, api::router(api))
            .with_graceful_shutdown(async move { stopped.cancelled().await });
        Ok(Self {
            serving: tokio::spawn(async move { serving.await }),
            stopping,
        })
    }

    /// Ends streams and lets answers end; who keeps a connection open is not waited for.
    pub async fn end(mut self) {
        self.stopping.cancel();
        let patience = std::time::Duration::from_secs(1);
        match tokio::time::timeout(patience, &mut self.serving).await {
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the API broke off"),
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
