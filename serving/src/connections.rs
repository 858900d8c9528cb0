//! Serving connections: bounded in number, patient for a bounded time, ended gracefully.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::handshake::shake;
use super::listener::Stream;
use super::room::{Place, Room};
use super::{Certificate, Door, Limits, Peer};

/// How long accepting pauses where the process has no descriptor left for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves doors within limits that they share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    limits: Limits,
    room: Arc<Room>,
}

/// What a connection is served with.
#[derive(Clone)]
struct Service {
    router: Router,
    limits: Limits,
    room: Arc<Room>,
    stopping: CancellationToken,
}

impl Server {
    /// A server within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            room: Arc::new(Room::new(&limits)),
        }
    }

    /// Answers whoever comes, until `stopping` is cancelled and the last connection has ended: an idle one ends at once, one
    /// that is being answered after its answer. Dropped, it breaks connections off; what was upgraded goes on.
    pub async fn answer(self, door: Door, router: Router, stopping: CancellationToken) {
        let service = Service {
            router,
            limits: self.limits,
            room: self.room,
            stopping: stopping.clone(),
        };
        let mut connections = JoinSet::new();
        let _ = stopping
            .run_until_cancelled(service.accept(&door, &mut connections))
            .await;
        drop(door);
        while connections.join_next().await.is_some() {}
    }
}

impl Service {
    async fn accept(&self, door: &Door, connections: &mut JoinSet<()>) -> Infallible {
        loop {
            let permit = self.room.wait(&door.listener).await;
            while connections.try_join_next().is_some() {}
            match door.listener.accept().await {
                Ok((stream, peer)) => match self.room.place(permit, &peer) {
                    Some(place) => {
                        drop(connections.spawn(self.clone().meet(stream, peer, door.tls.clone(), place)))
                    }
                    None => tracing::debug!(%peer, "it has as many connections as it may have"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection to its end.
    async fn meet(self, stream: Stream, peer: Peer, tls: Option<Arc<Certificate>>, _place: Place) {
        let served = match (stream, tls) {
            (Stream::Unix(stream), _) => self.serve(stream, peer).await,
            (Stream::Tcp(stream), None) => self.serve(stream, peer).await,
            (Stream::Tcp(stream), Some(certificate)) => {
                let limit = self.limits.handshake_timeout;
                match shake(stream, &certificate, self.room.handshakes(), limit).await {
                    Ok(stream) => self.serve(stream, peer).await,
                    Err(error) => Err(error.into()),
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(error, %peer, "a connection ended early");
        }
    }

    async fn serve<S>(self, stream: S, peer: Peer) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.header_timeout)
                .max_buf_size(self.limits.header_bytes)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            () = self.stopping.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}
