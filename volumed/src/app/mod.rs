//! The life of the process: what is started in which order, what ends it, and how it comes to rest.
//!
//! Start: database, sockets (a second daemon is told before it does anything), the parts that work, HTTP, `READY=1`.
//! End: at a signal, or when any long-lived task ends by itself, which is an error. Then nothing new is accepted,
//! streams and long polls end, running steps reach a recorded point, the database is closed, the socket's file goes.
//! What is not done by the end of the grace is left to recovery at the next start: a crash would leave no less.

mod error;
mod inherited;
mod listen;
mod notify;
mod parts;
mod serve;
mod signals;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::Store;
pub use error::AppError;
use listen::Listeners;
use parts::Parts;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Why it could not start, or which task ended by itself.
pub async fn run(config: Config) -> Result<(), AppError> {
    let signal = signals::Signals::listen()?;
    let store = Store::open(&config.database)?;
    let listeners = Listeners::open(&config)?;
    let (metrics, stopping) = (Metrics::new(), CancellationToken::new());
    let parts = parts::start(&config, &store, &metrics, &stopping).await?;
    let router = api::router(
        Api {
            store: store.clone(),
            operations: parts.operations.clone(),
            metrics,
            findings: parts.findings.clone(),
            stopping: stopping.clone(),
            started_at: Timestamp::now(),
        },
        config.http.body_limit,
    );
    let Listeners { sockets, files } = listeners;
    let mut servers = serve::start(sockets, &router, config.http, &stopping);

    notify::ready();
    let result = until_the_end(signal, &store, &mut servers, &parts).await;
    notify::stopping();

    stopping.cancel();
    let rest = come_to_rest(&parts, &mut servers);
    if timeout(config.shutdown_grace, rest).await.is_err() {
        tracing::warn!(grace = ?config.shutdown_grace, "not everything came to rest; recovery takes it up at the next start");
    }
    servers.shutdown().await;
    store.close().await;
    drop(files);
    tracing::info!("stopped");
    result
}

async fn until_the_end(
    mut signal: signals::Signals,
    store: &Store,
    servers: &mut JoinSet<()>,
    parts: &Parts,
) -> Result<(), AppError> {
    tokio::select! {
        name = signal.next() => {
            tracing::info!(signal = name, "stopping");
            Ok(())
        }
        _ = servers.join_next() => Err(AppError::Ended { task: "http" }),
        task = parts.ended() => Err(AppError::Ended { task }),
        () = store.failed() => Err(AppError::Ended { task: "store" }),
        never = notify::watchdog() => match never {},
    }
}

async fn come_to_rest(parts: &Parts, servers: &mut JoinSet<()>) {
    let served = async { while servers.join_next().await.is_some() {} };
    tokio::join!(served, parts.operations.shut_down());
}
