//! `migrate-engine bench-copy`: the transfer alone, timed, for the benchmark and for tests.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use crate::app::Ending;
use crate::block::{Cancel, InitialContent, LocalDisk, LocalDiskOptions, NbdExport, NbdOptions};
use crate::transfer::{self, Binding, Checkpoints, Copy, CopyOptions, Journal, Progress, RateLimit};

/// What is copied where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source: `nbd://…` or `nbd+unix://…`.
    source: String,
    /// The device or file that is written over.
    target: PathBuf,
    /// The target is known to read as zeroes.
    #[arg(long)]
    target_is_zero: bool,
    /// Keep a journal here, go on where it says, and remove it at the end.
    #[arg(long, value_name = "FILE", requires = "source_version")]
    journal: Option<PathBuf>,
    /// What names the content of the source, in the journal.
    #[arg(long, value_name = "TEXT")]
    source_version: Option<String>,
    /// How often the journal is told, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    checkpoint_ms: u64,
    /// At most so many bytes a second.
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let work = move || -> anyhow::Result<(f64, transfer::CopyReport)> {
            let began = Instant::now();
            let source = NbdExport::connect(self.source.parse()?, NbdOptions::default())?;
            let file = std::fs::File::options().read(true).write(true).open(&self.target);
            let file = file.with_context(|| format!("cannot open {}", self.target.display()))?;
            let initial_content = if self.target_is_zero {
                InitialContent::Zero
            } else {
                InitialContent::Unknown
            };
            let target = LocalDisk::new(
                OwnedFd::from(file),
                LocalDiskOptions {
                    initial_content,
                    ..Default::default()
                },
            )?;
            let options = CopyOptions {
                checkpoints: Checkpoints {
                    every: Duration::from_millis(self.checkpoint_ms),
                    ..Checkpoints::default()
                },
                rate: RateLimit::new(self.rate),
                ..CopyOptions::default()
            };
            let (progress, cancel) = (Progress::new(), Cancel::new());
            let copy = Copy::new(&source, &target, &options);
            let report = match &self.journal {
                None => copy.run(&progress, &cancel)?,
                Some(path) => {
                    let binding = Binding {
                        source: self.source_version.clone().unwrap_or_default(),
                        source_size: source.size(),
                        target: self.target.display().to_string(),
                        target_size: target.size(),
                        digest: options.digest,
                    };
                    let (journal, durable) = Journal::open(path, &binding)?;
                    let report = copy.remembered(&journal, &durable).run(&progress, &cancel)?;
                    journal.remove()?;
                    report
                }
            };
            Ok((began.elapsed().as_secs_f64(), report))
        };
        let (seconds, report) = tokio::task::spawn_blocking(work).await??;
        let line = serde_json::json!({
            "seconds": seconds,
            "bytes_read": report.totals.bytes_read,
            "bytes_written": report.totals.bytes_written,
            "bytes_resumed": report.totals.bytes_resumed,
            "digest": report.digest.root().to_string(),
        });
        println!("{line}");
        Ok(Ending::Completed)
    }
}
