//! `migrate-engine bench-copy`: the transfer alone, timed, for the benchmark and for tests.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::app::Ending;
use crate::block::nbd::depth_for;
use crate::block::{Cancel, InitialContent, LocalDisk, LocalDiskOptions, NbdExport, NbdOptions};
use crate::transfer::{
    self, Binding, Checkpoints, Copy, CopyOptions, CopyReport, Expected, Hashes, Journal, Progress,
    RateLimit, VerifyOptions,
};

/// What is copied where.
#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// The source: `nbd://…` or `nbd+unix://…`.
    source: String,
    /// The device or file that is written over.
    target: PathBuf,
    /// The target is known to read as zeroes.
    #[arg(long)]
    target_is_zero: bool,
    /// Read everything back and compare.
    #[arg(long)]
    verify: bool,
    /// Do not hash.
    #[arg(long, conflicts_with = "verify")]
    unhashed: bool,
    /// After the copy, do this many MiB of it once more, as if they had changed: each a MiB of its own, spread over the disk.
    /// The time is that of the update alone.
    #[arg(long, value_name = "MIB")]
    update_mib: Option<u64>,
    /// Connections and threads.
    #[arg(long, default_value_t = transfer::usual_workers())]
    workers: usize,
    /// Most blocks in flight per connection, where that is not to follow from the workers.
    #[arg(long)]
    most_depth: Option<usize>,
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

/// Everything that a copy needs.
struct Site {
    source: NbdExport,
    target: LocalDisk,
    options: CopyOptions,
    progress: Progress,
    cancel: Cancel,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let work = move || self.work();
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

    fn work(&self) -> anyhow::Result<(f64, CopyReport)> {
        let began = Instant::now();
        let site = self.site()?;
        let copy = Copy::new(&site.source, &site.target, &site.options);
        let report = match &self.journal {
            None => copy.run(&site.progress, &site.cancel)?,
            Some(path) => self.remembered(copy, path, &site)?,
        };
        if self.verify {
            let expected = Expected::Disk(&report.digest);
            let options = VerifyOptions {
                workers: self.workers.max(VerifyOptions::default().workers),
                ..VerifyOptions::default()
            };
            let verified = transfer::verify(&site.target, expected, &options, &site.progress, &site.cancel)?;
            ensure!(verified.is_equal(), "what was read back differs");
        }
        match self.update_mib {
            None => Ok((began.elapsed().as_secs_f64(), report)),
            Some(count) => update(&site, &report, count),
        }
    }

    fn site(&self) -> anyhow::Result<Site> {
        let options = NbdOptions {
            connections: self.workers,
            most_depth: self.most_depth.unwrap_or_else(|| depth_for(self.workers)),
            ..NbdOptions::default()
        };
        let source = NbdExport::connect(self.source.parse()?, options)?;
        let file = std::fs::File::options().read(true).write(true).open(&self.target);
        let file = file.with_context(|| format!("cannot open {}", self.target.display()))?;
        let options = LocalDiskOptions {
            initial_content: if self.target_is_zero {
                InitialContent::Zero
            } else {
                InitialContent::Unknown
            },
            ..LocalDiskOptions::default()
        };
        let target = LocalDisk::new(OwnedFd::from(file), options)?;
        let options = CopyOptions {
            workers: self.workers,
            checkpoints: Checkpoints {
                every: Duration::from_millis(self.checkpoint_ms),
                ..Checkpoints::default()
            },
            rate: RateLimit::new(self.rate),
            hashes: if self.unhashed { Hashes::None } else { Hashes::All },
            ..CopyOptions::default()
        };
        Ok(Site {
            source,
            target,
            options,
            progress: Progress::new(),
            cancel: Cancel::new(),
        })
    }

    fn remembered(&self, copy: Copy<'_>, path: &Path, site: &Site) -> anyhow::Result<CopyReport> {
        let binding = Binding {
            source: self.source_version.clone().unwrap_or_default(),
            source_size: site.source.size(),
            target: self.target.display().to_string(),
            target_size: site.target.size(),
            digest: site.options.digest,
        };
        let (journal, durable) = Journal::open(path, &binding)?;
        let report = copy
            .remembered(&journal, &durable)
            .run(&site.progress, &site.cancel)?;
        journal.remove()?;
        Ok(report)
    }
}

/// Copies `count` MiB again, as changes.
fn update(site: &Site, copied: &CopyReport, count: u64) -> anyhow::Result<(f64, CopyReport)> {
    const MIB: u64 = 1 << 20;
    let size = site.source.size() / MIB;
    ensure!(count > 0 && count <= size, "the disk has {size} MiB");
    let changes: Vec<_> = (0..count)
        .map(|n| n * (size / count) * MIB)
        .map(|at| at..at + MIB)
        .collect();
    let began = Instant::now();
    let update = Copy::new(&site.source, &site.target, &site.options).changed(&copied.digest, &changes);
    let report = update.run(&site.progress, &site.cancel)?;
    ensure!(report.digest == copied.digest, "nothing had changed");
    Ok((began.elapsed().as_secs_f64(), report))
}
