//! What a bundle is made of: what the daemon says, then what this machine says without it.

use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::io::AsyncReadExt;

use super::machine::{self, run};
use super::{LARGEST, Part, Wanted, file_name, service};
use crate::cli::Session;
use crate::client::{AuditFilter, ClientError, OperationFilter, VolumeFilter};

/// The units whose state and journal are taken.
const UNITS: [&str; 3] = ["volumed.service", "volumed.socket", "migrate-engine.service"];
/// Of lists that have no bound of their own.
const MOST: usize = 10_000;

impl Session {
    /// All of them. Where the daemon is silent it is not asked for each of its parts.
    pub(super) fn parts<'a>(&'a self, wanted: &'a Wanted, silence: Option<&'a str>) -> Vec<Part<'a>> {
        let mut parts = vec![Part::new("daemon/version.txt", async {
            run("volumed", &["--version"]).await
        })];
        parts.extend(self.of_the_daemon(wanted).into_iter().map(|part| match silence {
            None => part,
            Some(why) => Part::new(part.name, async move { Err(why.to_owned()) }),
        }));
        parts.push(Part::new("daemon/doctor.json", self.examined()));
        parts.extend(service::parts(wanted));
        parts.push(Part::new("config/volumed.toml", file(wanted.config.clone())));
        for name in ["sources.toml", "schedules.toml", "migrate-engine.toml"] {
            let path = wanted.engine_config.join(name);
            parts.push(Part::new(format!("config/{name}"), file(path)));
        }
        parts.extend(logs(wanted));
        parts.extend(machine::parts(&UNITS));
        parts
    }

    fn of_the_daemon<'a>(&'a self, wanted: &Wanted) -> Vec<Part<'a>> {
        let client = &self.client;
        let (operations, audit) = (wanted.operations, wanted.audit);
        vec![
            Part::new("daemon/status.json", async { told(client.status().await) }),
            Part::new("daemon/readiness.json", async { told(client.readiness().await) }),
            Part::new("daemon/metrics.txt", async {
                client.metrics().await.map(String::into_bytes).map_err(said)
            }),
            Part::new("daemon/findings.json", async {
                told(client.list_findings(&Default::default()).await)
            }),
            Part::new("daemon/operations.json", self.operations_with_steps(operations)),
            Part::new(
                "daemon/volumes.json",
                listed(client.list_all_volumes(VolumeFilter::default()), MOST),
            ),
            Part::new("daemon/mappings.json", listed(client.list_all_mappings(), MOST)),
            Part::new("daemon/devices.json", listed(client.list_all_devices(), MOST)),
            Part::new("daemon/leases.json", listed(client.list_all_leases(), MOST)),
            Part::new(
                "daemon/audit.json",
                listed(client.list_all_audit(AuditFilter::default()), audit),
            ),
        ]
    }

    /// The latest operations, each with its steps.
    async fn operations_with_steps(&self, most: usize) -> Result<Vec<u8>, String> {
        let latest = self
            .client
            .list_all_operations(OperationFilter::default())
            .take(most);
        let latest: Vec<_> = latest.try_collect().await.map_err(said)?;
        let mut whole = Vec::new();
        for operation in latest {
            whole.push(self.client.operation(operation.id).await.map_err(said)?);
        }
        json(&whole)
    }

    /// The daemon's own examination, or one without it.
    async fn examined(&self) -> Result<Vec<u8>, String> {
        match self.client.doctor().await {
            Ok(report) => json(&report),
            Err(_) => run("volumed", &["doctor", "--json"]).await,
        }
    }
}

fn logs(wanted: &Wanted) -> Vec<Part<'_>> {
    let journal = async {
        let mut arguments = vec!["--no-pager", "--output=short-iso-precise", "--lines=20000"];
        arguments.extend(["--since", &wanted.since]);
        UNITS.iter().for_each(|unit| arguments.extend(["--unit", unit]));
        run("journalctl", &arguments).await
    };
    let mut parts = vec![Part::new("logs/journal.txt", journal)];
    for (n, path) in wanted.log_file.iter().enumerate() {
        let name = format!("logs/{n}-{}", file_name(path));
        parts.push(Part::new(name, end_of(path.clone())));
    }
    parts
}

/// The end of a file, as much as there is room for.
async fn end_of(path: PathBuf) -> Result<Vec<u8>, String> {
    use tokio::io::AsyncSeekExt;

    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    let skipped = length.saturating_sub(LARGEST as u64);
    file.seek(std::io::SeekFrom::Start(skipped))
        .await
        .map_err(failed)?;
    read(file, &path).await
}

/// A file that is small.
pub(super) async fn file(path: PathBuf) -> Result<Vec<u8>, String> {
    let opened = tokio::fs::File::open(&path).await;
    read(
        opened.map_err(|error| format!("{}: {error}", path.display()))?,
        &path,
    )
    .await
}

async fn read(file: tokio::fs::File, path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = file.take(LARGEST as u64).read_to_end(&mut content).await;
    read.map(|_| content)
        .map_err(|error| format!("{}: {error}", path.display()))
}

async fn listed<T: Serialize>(
    items: impl Stream<Item = Result<T, ClientError>>,
    most: usize,
) -> Result<Vec<u8>, String> {
    let items: Vec<T> = items.take(most).try_collect().await.map_err(said)?;
    json(&items)
}

fn told<T: Serialize>(answer: Result<T, ClientError>) -> Result<Vec<u8>, String> {
    json(&answer.map_err(said)?)
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec_pretty(value).map_err(|error| error.to_string())
}

pub(super) fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
