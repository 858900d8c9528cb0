//! The life of `migrate-engine worker`: beside a source, until a signal comes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serving::{Limits, Server, service_manager};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Folders};
use super::doors::Passed;
use super::parts::Parts;
use super::serve::{self, Heard, Signals};
use super::{Ending, human};
use crate::api;
use crate::config::{Believe, Sources};
use crate::source::vsphere::Trust;
use crate::store::{DeadRun, Run};
use crate::worker::hand::{Access, Hand, Line, ServiceAddress};

/// What a worker is made of.
pub struct Working {
    /// Where the service is.
    pub service: ServiceAddress,
    /// Whom to believe to be it.
    pub believe: Believe,
    /// The file of the token by which the service knows us.
    pub token: PathBuf,
    /// The file of sources.
    pub sources: PathBuf,
    /// Where sockets are kept; of workers alone.
    pub runtime_dir: PathBuf,
    /// Where discovery is asked for, where it is.
    pub discovery_listen: Option<SocketAddr>,
}

/// Works until a signal comes.
///
/// # Errors
/// What could not be begun.
pub async fn work(working: Working) -> anyhow::Result<Ending> {
    let sources = Sources::read(&working.sources)?;
    ensure!(
        !sources.has_workers(),
        "{} has a [[worker]]: that belongs into the file of sources of the service",
        working.sources.display()
    );
    let token = std::fs::read_to_string(&working.token)
        .with_context(|| format!("cannot read the token in {}", working.token.display()))?;
    let token = crate::model::Secret::new(token.trim());
    let trust: Trust = super::book::trust(&working.believe).map_err(|why| anyhow::anyhow!(why))?;
    let access = Access::new(working.service, &trust, token)?;
    let (run, dead) = Run::begin(&working.runtime_dir, &std::env::temp_dir())?;
    dead.into_iter().for_each(DeadRun::forget);
    let folders = Folders {
        run: run.dir().to_owned(),
        scratch: run.scratch().to_owned(),
    };
    let book = Arc::new(Book::new(sources, folders, None));
    let stopping = CancellationToken::new();
    let mut parts = Parts::default();
    let open = Passed::take()?.discovery(working.discovery_listen)?;
    let router = api::discovery(serve::finder(&book));
    let server = Server::new(Limits::default());
    serve::answer(
        &mut parts,
        &server,
        "the API of discovery",
        open,
        &router,
        &stopping,
    );
    let mut signals = Signals::listen()?;
    let hand = Arc::new(Hand::new(Line::new(access), book.clone(), stopping.clone()));
    parts.begin("the work", hand.run(say));
    parts.begin_idle("the watchdog", async {
        match service_manager::watchdog().await {}
    });
    service_manager::ready("looking for work");
    let ended = loop {
        tokio::select! {
            heard = signals.heard() => match heard {
                Heard::Stop => break None,
                Heard::Reload => serve::reload(&book, &working.sources),
            },
            what = parts.one_ends() => break Some(what),
        }
    };
    match ended {
        Some(what) => tracing::error!(what, "a part of the worker ended by itself"),
        None => human::say("stopping: copies under way end in order, and go on when a worker is back"),
    }
    service_manager::stopping();
    stopping.cancel();
    parts.end().await;
    Ok(match ended {
        Some(_) => Ending::Failed,
        None => Ending::Completed,
    })
}

/// What the worker says of its line to the service, to people and to the service manager.
fn say(text: &str) {
    human::say(text);
    service_manager::status(text);
}
