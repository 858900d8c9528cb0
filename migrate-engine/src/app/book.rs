//! How sources are reached: by the file of sources, or with what a caller brings along.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::config::{Believe, Sources, VddkSettings};
use crate::model::Secret;
use crate::source::vsphere::{
    Credentials, Endpoint, FingerprintParseError, Patience, Quiesce, Trust, Vddk, VsphereSource,
};
use crate::source::{Category, FileSource, Options, Source, SourceBook, SourceFailure};
use crate::worker::hub::{Hub, RemoteSource};

/// The sources that the service knows.
pub struct Book {
    sources: RwLock<Sources>,
    folders: Folders,
    /// Where workers are met, where they are.
    hub: Option<Hub>,
}

/// Where servers of ours that read disks have what is theirs.
#[derive(Debug, Clone)]
pub struct Folders {
    /// For sockets: short.
    pub run: PathBuf,
    /// For what is unpacked: large.
    pub scratch: PathBuf,
}

/// Who a caller is at a source, and whom to believe to be it.
#[derive(Debug, Clone)]
pub struct Access {
    /// The source.
    pub host: String,
    /// Who we are there.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Whom to believe to be it.
    pub believe: Believe,
    /// Whether guests are brought to rest for snapshots.
    pub quiesce: bool,
    /// VMware's own library to read disks with, and the folder for the sockets of its servers.
    pub vddk: Option<(VddkSettings, PathBuf)>,
    /// How long it is waited for an answer.
    pub answer: Duration,
}

impl Access {
    /// One with the usual patience, and guests that are left alone.
    #[must_use]
    pub fn as_usual(host: String, username: String, password: Secret, believe: Believe) -> Self {
        Self {
            host,
            username,
            password,
            believe,
            quiesce: false,
            vddk: None,
            answer: Patience::default().answer,
        }
    }
}

impl Book {
    /// A book of these sources.
    #[must_use]
    pub fn new(sources: Sources, folders: Folders, hub: Option<Hub>) -> Self {
        Self {
            sources: RwLock::new(sources),
            folders,
            hub,
        }
    }

    /// Whom to believe to be `host`: as the file says, or whoever an authority of the system vouches for.
    #[must_use]
    pub fn believe(&self, host: &str) -> Believe {
        let sources = self.sources.read();
        sources
            .get(host)
            .map_or(Believe::SystemRoots, |entry| entry.believe.clone())
    }

    /// The worker that has this token.
    #[must_use]
    pub fn worker_with(&self, token: &str) -> Option<String> {
        let sources = self.sources.read();
        sources.worker_with(token).map(|worker| worker.name.clone())
    }

    /// The worker through which a source is reached.
    #[must_use]
    pub fn worker_of(&self, host: &str) -> Option<String> {
        let sources = self.sources.read();
        sources.worker_of(host).map(|worker| worker.name.clone())
    }

    /// With what disks of `host` are read, where that is not its own web server.
    #[must_use]
    pub fn vddk(&self, host: &str) -> Option<(VddkSettings, PathBuf)> {
        let sources = self.sources.read();
        let settings = sources.get(host)?.vddk.clone()?;
        Some((settings, self.folders.run.clone()))
    }

    fn folder(&self, host: &str) -> Option<PathBuf> {
        self.sources.read().folder(host).map(|files| files.path.clone())
    }

    /// Puts other sources in the place of those before; what is connected stays so.
    pub fn replace(&self, sources: Sources) {
        *self.sources.write() = sources;
    }

    fn access(&self, host: &str) -> Result<Access, SourceFailure> {
        let sources = self.sources.read();
        let entry = sources.get(host).ok_or_else(|| {
            let known = sources.hosts().join(", ");
            let known = if known.is_empty() { "none" } else { &known };
            let why = format!(
                "nothing is known of the source `{}`: add it to the file of sources (it has {known})",
                host.chars()
                    .take(120)
                    .flat_map(char::escape_debug)
                    .collect::<String>()
            );
            SourceFailure::new(Category::Refused, why)
        })?;
        Ok(Access {
            host: entry.host.clone(),
            username: entry.username.clone(),
            password: entry.password.clone(),
            believe: entry.believe.clone(),
            quiesce: entry.quiesce,
            vddk: entry
                .vddk
                .clone()
                .map(|settings| (settings, self.folders.run.clone())),
            answer: Patience::default().answer,
        })
    }
}

#[async_trait]
impl SourceBook for Book {
    fn hosts(&self) -> Vec<String> {
        let sources = self.sources.read();
        sources.hosts().into_iter().map(str::to_owned).collect()
    }

    fn workers(&self) -> Vec<(String, bool)> {
        let (sources, hub) = (self.sources.read(), self.hub.as_ref());
        let is_there = |name: &str| hub.is_some_and(|hub| hub.is_present(name));
        let names = sources.workers().map(|name| (name.to_owned(), is_there(name)));
        names.collect()
    }

    async fn connect(&self, vcenter_host: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        if let Some(worker) = self.worker_of(vcenter_host) {
            let hub = self.hub.clone().ok_or_else(|| {
                let why = "no worker can reach this service: start it with --worker-listen";
                SourceFailure::new(Category::Refused, why)
            })?;
            return Ok(Arc::new(RemoteSource::new(hub, worker, vcenter_host.to_owned())));
        }
        if let Some(path) = self.folder(vcenter_host) {
            let options = Options {
                run_dir: self.folders.run.clone(),
                scratch_dir: self.folders.scratch.clone(),
                ..Options::default()
            };
            return Ok(Arc::new(FileSource::new(path, options)));
        }
        let access = self.access(vcenter_host)?;
        Ok(Arc::new(connect(&access).await?))
    }

    async fn present(&self, vcenter_host: &str, patience: Duration) {
        if let (Some(hub), Some(worker)) = (&self.hub, self.worker_of(vcenter_host)) {
            hub.present(&worker, patience).await;
        }
    }
}

/// Whom to believe, read.
///
/// # Errors
/// A fingerprint that is none.
pub(super) fn trust(believe: &Believe) -> Result<Trust, FingerprintParseError> {
    Ok(match believe {
        Believe::SystemRoots => Trust::SystemRoots,
        Believe::CaFile(path) => Trust::CaFile(PathBuf::from(path)),
        Believe::Anybody => Trust::Skipped,
        Believe::Fingerprint(text) => Trust::Pinned(text.parse()?),
    })
}

/// Logs in.
///
/// # Errors
/// What is wrong with the access, or keeps us from the source.
pub(super) async fn connect(access: &Access) -> Result<VsphereSource, SourceFailure> {
    let refused = |why: String| SourceFailure::new(Category::Refused, why);
    let endpoint: Endpoint = access
        .host
        .parse()
        .map_err(|error| SourceFailure::new(Category::Refused, error))?;
    let trust =
        trust(&access.believe).map_err(|error| refused(format!("source `{}`: {error}", access.host)))?;
    let credentials = Credentials::new(access.username.clone(), access.password.reveal());
    let patience = Patience {
        answer: access.answer,
        ..Patience::default()
    };
    let source = VsphereSource::connect(&endpoint, &trust, credentials, patience).await?;
    let source = source.quiescing(match access.quiesce {
        true => Quiesce::Guest,
        false => Quiesce::No,
    });
    Ok(match access.vddk.clone() {
        Some((settings, run_dir)) => source.reading_through(Vddk::new(settings, run_dir)),
        None => source,
    })
}
