//! The life of one command of `migrate-engine`: signals, progress, report.

mod book;
pub mod client;
mod discover;
mod doors;
mod human;
pub mod jobs;
mod listen;
mod machines;
mod parts;
mod plain;
mod progress;
mod publish;
mod scheduled;
mod serve;
mod sources;
pub mod start;
pub mod steps;
mod table;
mod worker;

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Instrument as _;
use volume_client::client::RequestId;

use crate::block::Cancel;
use crate::model::{CopyReport, Outcome};
use crate::pipeline::{Board, Copier};
use crate::source;

pub use book::{Access, Book, Folders};
pub use discover::discover;
pub use doors::SocketPlace;
pub use listen::Service;
pub use progress::Show;
pub use publish::{Form, publish};
pub use serve::{Serving, serve};
pub use sources::{machines_of, sources};
pub use worker::{Working, work};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything was copied and verified.
    Completed,
    /// Something was not.
    Failed,
    /// Somebody stopped it; everything was given back.
    Cancelled,
}

/// Copies, shows progress on standard error and to those who look at `board`, the report on standard output, and writes `json` where
/// asked.
///
/// # Errors
/// Where the report cannot be written.
pub async fn copy(copier: &Copier, spec: &str, board: &Board, json: Option<&Path>) -> anyhow::Result<Ending> {
    let show = if std::io::stderr().is_terminal() {
        Show::bar()
    } else {
        Show::lines()
    };
    let watch = (show, board.watch(source::shown(spec)));
    let run = copier.client.request_id().map(tracing::field::display);
    let span = tracing::info_span!("copy", request_id = run, source = source::shown(spec));
    let (report, error) = copier.copy(spec, &watch).instrument(span).await;
    drop(watch);
    human::print_report(&report);
    if let Some(error) = &error {
        human::print_error(error, report.hint.as_deref());
    }
    if let Some(path) = json {
        write_json(path, &report)?;
    }
    Ok(match report.outcome {
        Outcome::Completed => Ending::Completed,
        Outcome::Failed => Ending::Failed,
        Outcome::Cancelled => Ending::Cancelled,
    })
}

/// A name for a run of the engine, by which the daemon hears of it.
#[must_use]
pub fn run_name() -> RequestId {
    let name = format!("copy-{}", uuid::Uuid::now_v7());
    name.parse().expect("letters, digits and dashes, and short")
}

/// Writes the report of a copy that could not even be begun.
///
/// # Errors
/// Where it cannot be written.
pub fn report_failure(spec: &str, error: &anyhow::Error, json: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = json else { return Ok(()) };
    let mut report = CopyReport::begun(&source::shown(spec), Timestamp::now());
    report.fail(Outcome::Failed, error.as_ref(), None);
    write_json(path, &report)
}

/// The first signal stops the work in good order, and `saying` is said; the next ones change nothing: giving back is
/// bounded by itself.
///
/// # Errors
/// Where signals cannot be listened to.
pub fn stop_on_signals(cancel: &Cancel, saying: &'static str) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !cancel.is_cancelled() {
                human::say(saying);
            }
            cancel.cancel();
        }
    });
    Ok(())
}

fn write_json(path: &Path, report: &CopyReport) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(path, text + "\n")
        .with_context(|| format!("cannot write the report to {}", path.display()))
}
