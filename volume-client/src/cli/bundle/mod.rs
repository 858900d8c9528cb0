//! `volumectl support-bundle`: everything that helps somebody else to see what is the matter here, in one file without secrets.
//!
//! Secrets are left out by construction: no part reads a file of credentials, a token, a private key or a database. Beside that
//! every text goes through a [scrubber](scrub). Each part is bounded in time and size; one that fails is recorded as failed and
//! stops nothing, so that there is a bundle also where the daemon is down, which is when it is needed most.

mod archive;
mod machine;
mod parts;
mod scrub;
mod service;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::measure::human_size;
use archive::Archive;

/// No part takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No part is larger; of a log that is, the end counts.
const LARGEST: usize = 8 << 20;

/// What a bundle is made of.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// The file to write; one that is there already stays [default: volumed-support-TIME.tar.gz here]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many of the latest operations, with their steps
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    operations: usize,
    /// How many of the latest lines of the audit trail
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    audit: usize,
    /// From when on the journal is taken, as journalctl understands it
    #[arg(long, value_name = "TIME", default_value = "-24h")]
    since: String,
    /// A log that is in a file and not in the journal; may be given several times
    #[arg(long, value_name = "FILE")]
    log_file: Vec<PathBuf>,
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/volumed/volumed.toml")]
    config: PathBuf,
    /// The folder of the migration engine's configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/migrate-engine")]
    engine_config: PathBuf,
    /// Where the migration engine's service of replications answers
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8082")]
    engine_url: String,
    /// The file of the token that it wants; the token itself goes nowhere else
    #[arg(long, value_name = "FILE", default_value = "/var/lib/migrate-engine/token")]
    engine_token_file: PathBuf,
}

/// What a part came to, as the manifest says it.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// `ok`, `shortened` or `failed`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    size_bytes: usize,
    sha256: String,
    /// How many texts that look like secrets were taken out.
    scrubbed: usize,
    took_ms: u128,
}

#[derive(Debug, Serialize)]
struct Manifest {
    made_at: Timestamp,
    made_by: &'static str,
    daemon: String,
    parts: Vec<Entry>,
}

/// What the person is told.
#[derive(Debug, Serialize)]
struct Made {
    file: PathBuf,
    size_bytes: u64,
    parts: usize,
    failed: Vec<String>,
    scrubbed: usize,
}

/// A piece of the bundle: its name in there, and how it is got.
struct Part<'a> {
    name: String,
    content: BoxFuture<'a, Result<Vec<u8>, String>>,
}

impl<'a> Part<'a> {
    fn new(
        name: impl Into<String>,
        content: impl Future<Output = Result<Vec<u8>, String>> + Send + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            content: Box::pin(content),
        }
    }
}

impl Session {
    pub(super) async fn support_bundle(&self, wanted: &Wanted) -> Result<(), Failure> {
        let made_at = Timestamp::now();
        let name = made_at.strftime("volumed-support-%Y%m%dT%H%M%SZ").to_string();
        let file = wanted
            .output
            .clone()
            .unwrap_or_else(|| format!("{name}.tar.gz").into());
        let mut archive = Archive::create(&file, &name)?;
        let mut entries = Vec::new();
        let silence = self.client.health().await.err();
        let silence = silence.map(|error| scrub::scrub(&error.to_string()).0);
        for part in self.parts(wanted, silence.as_deref()) {
            entries.push(add(&mut archive, part).await?);
        }
        let failed = entries.iter().filter(|entry| entry.outcome == "failed");
        let made = Made {
            parts: entries.len(),
            failed: failed.map(|entry| entry.name.clone()).collect(),
            scrubbed: entries.iter().map(|entry| entry.scrubbed).sum(),
            size_bytes: 0,
            file: file.clone(),
        };
        let manifest = Manifest {
            made_at,
            made_by: concat!("volumectl ", env!("CARGO_PKG_VERSION")),
            daemon: match silence {
                None => format!("answers at {}", self.client.target()),
                Some(why) => format!("does not answer: {why}"),
            },
            parts: entries,
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from)?;
        archive.add("manifest.json", &manifest)?;
        let size_bytes = archive.finish()?;
        self.out.show(&Made { size_bytes, ..made }, describe)
    }
}

/// Gets a part and puts it into the archive, or what went wrong in its place.
async fn add(archive: &mut Archive, part: Part<'_>) -> Result<Entry, Failure> {
    let began = Instant::now();
    let got = match tokio::time::timeout(PATIENCE, part.content).await {
        Ok(got) => got,
        Err(_) => Err(format!("it took longer than {PATIENCE:?}")),
    };
    let (mut outcome, mut error, content) = match got {
        Ok(content) => ("ok", None, content),
        Err(why) => ("failed", Some(scrub::scrub(&why).0), Vec::new()),
    };
    let (mut content, scrubbed) = scrub::scrub_bytes(&content);
    if content.len() > LARGEST {
        content.drain(..content.len() - LARGEST);
        outcome = "shortened";
        error = Some(format!("only the last {LARGEST} bytes"));
    }
    if outcome != "failed" {
        archive.add(&part.name, &content)?;
    }
    Ok(Entry {
        outcome,
        error,
        size_bytes: content.len(),
        sha256: archive::sha256(&content),
        scrubbed,
        took_ms: began.elapsed().as_millis(),
        name: part.name,
    })
}

fn describe(made: &Made) -> String {
    let Made {
        file,
        size_bytes,
        parts,
        failed,
        scrubbed,
    } = made;
    let mut text = format!(
        "wrote {} ({}, {} of {parts} parts); look through it before you give it away: names of volumes, machines and hosts are in it",
        file.display(),
        human_size(*size_bytes),
        parts - failed.len()
    );
    if *scrubbed > 0 {
        text.push_str(&format!(
            "\n{scrubbed} texts that look like secrets were taken out"
        ));
    }
    if !failed.is_empty() {
        text.push_str(&format!(
            "\nnot there, manifest.json says why: {}",
            failed.join(", ")
        ));
    }
    text
}

/// The name of a file as the part of a bundle.
fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned())
}
