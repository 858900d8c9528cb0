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
use hyper_util::server::graceful::GracefulShutdown;
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

/// The connections of one socket.
#[derive(Default)]
struct Connections {
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
}

impl Server {
    /// Dropping this future ends its connections at once.
    async fn run(self, socket: Socket, stopping: CancellationToken) {
        let mut connections = Connections::default();
        let accepting = self.accept(&socket, &mut connections);
        let _ = stopping.run_until_cancelled(accepting).await;
        drop(socket);
        connections.graceful.shutdown().await;
        while connections.tasks.join_next().await.is_some() {}
    }

    async fn accept(&self, socket: &Socket, connections: &mut Connections) -> Infallible {
        loop {
            let room = Arc::clone(&self.room).acquire_owned().await;
            let room = room.expect("the semaphore is never closed");
            while connections.tasks.try_join_next().is_some() {}
            if let Err(error) = self.accept_one(socket, connections, room).await {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn accept_one(
        &self,
        socket: &Socket,
        connections: &mut Connections,
        room: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        match socket {
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::from(stream.peer_cred()?);
                self.serve(stream, peer, connections, room);
            }
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                self.serve(stream, Peer::Tcp(address), connections, room);
            }
        }
        Ok(())
    }

    fn serve<S>(&self, stream: S, peer: Peer, connections: &mut Connections, room: OwnedSemaphorePermit)
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
        let connection = connections.graceful.watch(connection);
        connections.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            drop(room);
        });
    }
}
