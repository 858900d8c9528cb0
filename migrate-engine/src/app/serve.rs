//! The life of `migrate-engine serve`: the service of discovery and replications, from its start to the end of its last job.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use axum::Router;
use serving::{CertificateFiles, Door, Limits, Server, is_loopback, service_manager};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::book::{self, Book, Folders};
use super::doors::{self, Passed, SocketPlace};
use super::parts::Parts;
use super::{Ending, human, scheduled};
use crate::api::{self, Access, Api, Discoverer, DiscoveryRequest, Replications, Token};
use crate::config::Sources;
use crate::model::MachineSpec;
use crate::pipeline::{Desk, Dispatcher, Replicator};
use crate::schedule::Rate;
use crate::source::{Category, Source as _, SourceFailure, Wanted};
use crate::worker::hub::Hub;

/// How long a discovery waits for one answer: callers give up after 15 seconds.
const ANSWER: Duration = Duration::from_secs(13);

/// What the service is made of.
pub struct Serving {
    /// Who does the work.
    pub replicator: Replicator,
    /// The file of sources.
    pub sources: PathBuf,
    /// The file of schedules; without it, nothing begins by itself.
    pub schedules: PathBuf,
    /// The cap where the file of schedules says nothing of bandwidth.
    pub rate: Rate,
    /// The file of the token; made where it is not there.
    pub token: PathBuf,
    /// Where replications are asked for: elsewhere than on the loopback over TLS.
    pub listen: SocketAddr,
    /// Where discovery is asked for.
    pub discovery_listen: SocketAddr,
    /// How often each caller may ask for replications.
    pub requests_per_second: NonZeroU32,
    /// What is shown to those who come from elsewhere.
    pub certificate: CertificateFiles,
    /// The Unix socket where replications are asked for without a token.
    pub socket: SocketPlace,
    /// Where workers are heard, over TLS; nowhere, unless the service manager listens for them.
    pub worker_listen: Option<SocketAddr>,
    /// How long a worker may be silent before it counts as gone.
    pub worker_silence: Duration,
    /// The configurations of the target that callers may name.
    pub known_configs: Vec<i64>,
}

/// Serves until a signal comes, or a part of the service ends by itself, which is a failure.
///
/// # Errors
/// What could not be begun.
pub async fn serve(serving: Serving) -> anyhow::Result<Ending> {
    let sources = Sources::read(&serving.sources)?;
    let plan = scheduled::read(&serving.schedules, serving.rate).await?;
    let own = Token::new(&token(&serving.token)?);
    let keeper = Arc::new(serving.replicator.client.clone());
    let access = Access::new(own, keeper, serving.requests_per_second);
    let mut passed = Passed::take()?;
    let are_heard = serving.worker_listen.is_some() || passed.has_workers();
    ensure!(
        are_heard || !sources.has_workers(),
        "{} has a [[worker]], and no worker can reach this service: give --worker-listen, such as 0.0.0.0:8443",
        serving.sources.display()
    );
    let hub = are_heard.then(|| Hub::new(serving.worker_silence));
    let folders = Folders {
        run: serving.replicator.run.dir().to_owned(),
        scratch: serving.replicator.run.scratch().to_owned(),
    };
    let book = Arc::new(Book::new(sources, folders, hub.clone()));
    let stopping = CancellationToken::new();
    let (board, store) = (
        serving.replicator.board.clone(),
        Arc::clone(&serving.replicator.store),
    );
    let limit = serving.replicator.rate.clone();
    let dispatcher = Dispatcher::new(serving.replicator, book.clone(), stopping.clone());
    let dispatcher = Arc::new(dispatcher);
    let desk = Desk::new(Arc::clone(&dispatcher), serving.known_configs);
    let mut parts = Parts::default();
    let server = Server::new(Limits::default());
    let (api, _socket) = passed.api(serving.listen, serving.socket)?;
    let workers = passed.workers(serving.worker_listen)?;
    let from_elsewhere = api.iter().filter_map(|listener| listener.address());
    let is_reached = !workers.is_empty() || from_elsewhere.into_iter().any(|address| !is_loopback(address));
    let certificate = is_reached.then(|| doors::certificate(serving.certificate));
    let certificate = certificate.transpose()?.map(Arc::new);
    let expiry = certificate.clone().map(|shown| {
        let expiry: api::Expiry = Arc::new(move || shown.expires_at());
        expiry
    });
    if let (Some(hub), Some(shown)) = (hub, &certificate) {
        let open = workers.into_iter().map(|listener| Door::far(listener, shown));
        let open = open.map(|door| doors::said("workers", door)).collect();
        hear_workers(&mut parts, &server, open, hub, &book);
    }
    let replications: Vec<_> = api
        .into_iter()
        .map(|listener| {
            Ok(doors::said(
                "replications",
                Door::guarded(listener, certificate.as_ref())?,
            ))
        })
        .collect::<anyhow::Result<_>>()?;
    let discovery = passed.discovery(Some(serving.discovery_listen))?;
    let mut signals = Signals::listen()?;

    let look_again = plan.asked();
    let schedules = scheduled::begin(&mut parts, plan, &desk, store, limit, &stopping);
    parts.begin("the work on jobs", dispatcher.run());
    let state = Replications {
        api: Api {
            board,
            stopping: stopping.clone(),
            desk: Some(desk.clone()),
            expiry,
        },
        desk,
        schedules,
        access: Arc::new(access),
    };
    answer(
        &mut parts,
        &server,
        "the API of replications",
        replications,
        &api::replications(state),
        &stopping,
    );
    answer(
        &mut parts,
        &server,
        "the API of discovery",
        discovery,
        &api::discovery(finder(&book)),
        &stopping,
    );
    parts.begin_idle("the watchdog", async {
        match service_manager::watchdog().await {}
    });
    service_manager::ready("takes replications");
    let ended = loop {
        tokio::select! {
            heard = signals.heard() => match heard {
                Heard::Stop => break None,
                Heard::Reload => {
                    reload(&book, &serving.sources);
                    if let Some(Err(error)) = certificate.as_ref().map(|shown| shown.read_anew()) {
                        tracing::error!(error = format!("{error:#}"), "the certificate stays as it was");
                    }
                    look_again.notify_one();
                }
            },
            what = parts.one_ends() => break Some(what),
        }
    };
    if let Some(what) = ended {
        tracing::error!(what, "a part of the service ended by itself");
    } else {
        human::say("stopping: jobs under way give back what they hold, and go on with the next start");
    }
    service_manager::stopping();
    stopping.cancel();
    parts.end().await;
    Ok(match ended {
        Some(_) => Ending::Failed,
        None => Ending::Completed,
    })
}

/// What hears workers, on open doors.
fn hear_workers(parts: &mut Parts, server: &Server, open: Vec<Door>, hub: Hub, book: &Arc<Book>) {
    let named = Arc::clone(book);
    let router = api::workers(api::Workers {
        hub,
        named: Arc::new(move |token| named.worker_with(token)),
    });
    // To the end of the work on jobs: copies that are to stop are told so, and tell what became durable.
    let to_the_end = CancellationToken::new();
    answer(parts, server, "the API of workers", open, &router, &to_the_end);
}

/// Begins what answers on these doors.
pub(super) fn answer(
    parts: &mut Parts,
    server: &Server,
    name: &'static str,
    open: Vec<Door>,
    router: &Router,
    stopping: &CancellationToken,
) {
    for door in open {
        let answering = server.clone().answer(door, router.clone(), stopping.clone());
        parts.begin_idle(name, answering);
    }
}

/// The signals that the service follows.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(super) enum Heard {
    Stop,
    Reload,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    pub(super) async fn heard(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }
}

pub(super) fn reload(book: &Book, path: &Path) {
    match Sources::read(path) {
        Ok(sources) => {
            book.replace(sources);
            human::say("the file of sources was read anew");
        }
        Err(error) => {
            tracing::error!(error = %anyhow::Error::from(error), "the sources stay as they were");
        }
    }
}

/// The token of the file; a new one where there is none.
pub(super) fn token(path: &Path) -> anyhow::Result<String> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = text.trim();
            ensure!(
                text.len() >= 16,
                "the token in {} has {} characters: write at least 16, or remove the file to have one made",
                path.display(),
                text.len()
            );
            return Ok(text.to_owned());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the token in {}", path.display()));
        }
    }
    let token = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut options = std::fs::File::options();
    let made = options.create_new(true).write(true).mode(0o600).open(path);
    made.and_then(|mut file| writeln!(file, "{token}"))
        .with_context(|| format!("cannot write a token to {}", path.display()))?;
    human::say(&format!("a token was made: {}", path.display()));
    Ok(token)
}

/// Who answers discovery.
pub(super) fn finder(book: &Arc<Book>) -> Arc<dyn Discoverer> {
    Arc::new(Finder(Arc::clone(book)))
}

/// Finds machines with what callers bring along; whom to believe is told by the file of sources.
struct Finder(Arc<Book>);

#[async_trait]
impl Discoverer for Finder {
    async fn discover(&self, request: &DiscoveryRequest) -> Result<Vec<MachineSpec>, SourceFailure> {
        if let Some(worker) = self.0.worker_of(&request.vcenter) {
            let why = format!(
                "`{}` is reached through worker `{worker}`: ask GET /api/v1/sources/{{host}}/machines, or the worker \
                 (--discovery-listen)",
                request.vcenter
            );
            return Err(SourceFailure::new(Category::Refused, why));
        }
        let access = book::Access {
            host: request.vcenter.clone(),
            username: request.username.clone(),
            password: request.password.clone(),
            believe: self.0.believe(&request.vcenter),
            quiesce: false,
            vddk: self.0.vddk(&request.vcenter),
            answer: ANSWER,
        };
        let source = book::connect(&access).await?;
        let wanted = Wanted {
            machine: request.filter.clone(),
            datacenter: request.datacenter.clone(),
        };
        source.machines(&wanted).await
    }
}
