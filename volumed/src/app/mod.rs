//! The life of the process: what is started in which order, what ends it, and how it comes to rest.
//!
//! Start: database, sockets (a second daemon is told before it does anything), the parts that work, HTTP, recovery,
//! `READY=1`.
//! End: at a signal, or when any long-lived task ends by itself, which is an error. Then nothing new is accepted,
//! streams and long polls end, running steps reach a recorded point, the database is closed, the socket's file goes.
//! What is not done by the end of the grace is left to recovery at the next start: a crash would leave no less.

mod alone;
mod error;
mod fsck;
mod listen;
mod parts;
mod signals;

use std::convert::Infallible;
use std::sync::Arc;

use jiff::Timestamp;
use serving::{Certificate, Door, Server, service_manager};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Access, Api};
use crate::auth::Policy;
use crate::config::Config;
use crate::doctor;
use crate::store::Store;
pub use alone::examine;
pub use error::AppError;
pub use fsck::fsck;
use listen::Doors;
use parts::Parts;
use signals::Signals;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Why it could not start, or which task ended by itself.
pub async fn run(config: Config) -> Result<(), AppError> {
    let mut signals = Signals::listen()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let store = Store::open(&config.database)?;
    let Doors {
        open,
        files,
        certificate,
    } = Doors::open(&config)?;
    let addresses = open.iter().filter_map(Door::address).collect();
    service_manager::status("starting");
    let parts = Parts::start(&config, &store).await?;
    let stopping = CancellationToken::new();
    let policy = Policy {
        tcp_needs_token: config.http.needs_token(),
        group_scope: config.http.socket_scope,
    };
    let doors = doctor::Doors {
        addresses,
        needs_token: policy.tcp_needs_token,
        certificate: certificate.clone(),
    };
    let shown = certificate.clone();
    let metrics = parts.metrics.clone();
    let api = Api {
        store: store.clone(),
        operations: parts.operations.clone(),
        metrics: metrics.with_certificate(move || shown.as_ref()?.expires_at()),
        reconciler: Arc::clone(&parts.reconciler),
        doctor: parts.examiner(&config, doors),
        stopping: stopping.clone(),
        started_at: Timestamp::now(),
    };
    let looking = tokio::spawn(api::keep_readiness(api.clone()));
    let access = Access::new(policy, config.http.requests_per_second);
    let router = api::router(api, config.http.body_limit, access);
    let server = Server::new(config.http.limits);
    let mut servers = JoinSet::new();
    for door in open {
        servers.spawn(server.clone().answer(door, router.clone(), stopping.clone()));
    }

    let result = tokio::select! {
        result = work(&parts, &stopping) => result,
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            Ok(())
        }
        _ = servers.join_next() => Err(AppError::Ended { task: "http server" }),
        task = parts.ended() => Err(AppError::Ended { task }),
        () = store.failed() => Err(AppError::Ended { task: "database writer" }),
        never = service_manager::watchdog() => match never {},
        never = follow(certificate.as_deref(), &mut hangup) => match never {},
    };
    service_manager::stopping();
    stopping.cancel();
    let rest = come_to_rest(&parts, &mut servers);
    if timeout(config.shutdown_grace, rest).await.is_err() {
        tracing::warn!(grace = ?config.shutdown_grace, "not all came to rest; the next start goes on with it");
    }
    servers.shutdown().await;
    looking.abort();
    store.close().await;
    parts.stop().await;
    drop(files);
    tracing::info!("stopped");
    result
}

/// Shows the certificate of the files as they are: read anew when they have changed, and at each SIGHUP.
async fn follow(certificate: Option<&Certificate>, hangup: &mut Signal) -> Infallible {
    let Some(certificate) = certificate else {
        loop {
            hangup.recv().await;
        }
    };
    loop {
        tokio::select! {
            never = certificate.follow() => match never {},
            _ = hangup.recv() => if let Err(error) = certificate.read_anew() {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the certificate stays as it was");
            },
        }
    }
}

/// Recovers, then compares the views for ever. Recovery runs behind open sockets, so that `/readyz` can tell of it.
async fn work(parts: &Parts, stopping: &CancellationToken) -> Result<(), AppError> {
    service_manager::status("going on with operations of the last run");
    parts.operations.recover().await?;
    service_manager::ready("ready");
    let reconciler = Arc::clone(&parts.reconciler);
    reconciler.run(stopping.clone()).await;
    Err(AppError::Ended { task: "reconciler" })
}

async fn come_to_rest(parts: &Parts, servers: &mut JoinSet<()>) {
    let served = async { while servers.join_next().await.is_some() {} };
    tokio::join!(served, parts.operations.shut_down());
}
