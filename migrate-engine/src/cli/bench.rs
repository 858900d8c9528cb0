//! `migrate-engine bench-copy`: the transfer alone, timed, for the benchmark.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use crate::app::Ending;
use crate::block::{Cancel, InitialContent, LocalDisk, LocalDiskOptions, NbdExport, NbdOptions};
use crate::transfer::{self, CopyOptions, Progress};

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
            let report = transfer::copy(
                &source,
                &target,
                &CopyOptions::default(),
                &Progress::new(),
                &Cancel::new(),
            )?;
            Ok((began.elapsed().as_secs_f64(), report))
        };
        let (seconds, report) = tokio::task::spawn_blocking(work).await??;
        let line = serde_json::json!({
            "seconds": seconds,
            "bytes_read": report.totals.bytes_read,
            "bytes_written": report.totals.bytes_written,
            "digest": report.digest.root().to_string(),
        });
        println!("{line}");
        Ok(Ending::Completed)
    }
}
