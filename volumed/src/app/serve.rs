//! Serving connections: bounded in number, patient for a bounded time, ended gracefully.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listen::Socket;
use crate::auth::Peer;
use crate::config::Http;

/// How long accepting pauses where the process has no descriptor left for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on every socket. Each task ends once `stopping` is cancelled and its last connection has ended.
pub(super) fn start(
    sockets: Vec<Socket>,
    router: &Router,
    http: Http,
    stopping: &CancellationToken,
) -> JoinSet<()> {
    let room = Arc::new(Semaphore::new(http.connections));
    let mut servers = JoinSet::new();
    for socket in sockets {
        let server = Server {
            router: router.clone(),
            room: Arc::clone(&room),
            header_timeout: http.header_timeout,
        };
        servers.spawn(server.run(socket, stopping.clone()));
    }
    servers
}

struct Server {
    router: Router,
    room: Arc<Semaphore>,
    header_timeout: Duration,
}

impl Server {
    async fn run(self, socket: Socket, stopping: CancellationToken) {
        let connections = GracefulShutdown::new();
        let _ = stopping
            .run_until_cancelled(self.accept(&socket, &connections))
            .await;
        drop(socket);
        connections.shutdown().await;
    }

    async fn accept(&self, socket: &Socket, connections: &GracefulShutdown) -> Infallible {
        loop {
            let room = Arc::clone(&self.room).acquire_owned().await;
            let room = room.expect("the semaphore is never closed");
            let accepted = match socket {
                Socket::Unix(listener) => match listener.accept().await {
                    Ok((stream, _)) => stream.peer_cred().map(|cred| {
                        self.spawn(stream, cred.into(), room, connections.watcher());
                    }),
                    Err(error) => Err(error),
                },
                Socket::Tcp(listener) => match listener.accept().await {
                    Ok((stream, address)) => stream.set_nodelay(true).map(|()| {
                        self.spawn(stream, Peer::Tcp(address), room, connections.watcher());
                    }),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = accepted {
                self.pause(&error).await;
            }
        }
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(PAUSE).await;
    }

    fn spawn<S>(&self, stream: S, peer: Peer, room: OwnedSemaphorePermit, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(stream), service);
        let connection = watcher.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            drop(room);
        });
    }
}
