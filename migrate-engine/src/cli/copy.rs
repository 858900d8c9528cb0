//! `migrate-engine copy`: what may be asked, and the settings that it means.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _};

use super::Cli;
use super::daemon::Daemon;
use super::server::Server;
use crate::app::{self, Ending, Service};
use crate::block::Cancel;
use crate::config::{Afterwards, Begin, CopySettings, Existing, Verification};
use crate::model::{DigestKind, Route, Size};
use crate::pipeline::{Board, Copier, clean_up_after};
use crate::source::{Backing, Format, ManifestCheck, Options};
use crate::store::{Run, Store};
use crate::transfer::usual_workers;

/// Copy disks into volumes, and prove that they are equal.
///
/// Each disk gets a volume of its capacity plus a buffer, through the daemon; the device is written only after it was
/// proven to be the volume's. What was copied is read back and compared with a digest that was computed while copying.
/// Run again after a failure, it uses the same volumes, and goes on inside of a disk where that is surely the same. Ctrl-C stops in good order.
///
/// Exit status: 0 copied and verified, 1 failed, 2 wrong usage, 130 stopped by a signal.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Images (raw, qcow2, vmdk, vhd, vhdx), OVA or OVF packages, or NBD addresses (`nbd://…`, `nbd+unix://…`; over TLS `nbds://…`).
    #[arg(required = true)]
    sources: Vec<String>,
    #[command(flatten)]
    daemon: Daemon,
    /// The name that the machine is known by, where it is not to be the source's own.
    #[arg(long, value_name = "NAME", value_parser = machine_name)]
    vm: Option<String>,
    /// What is added to a disk's capacity for its volume.
    #[arg(long, value_name = "SIZE", default_value = "5GB")]
    buffer: Size,
    /// The format of a single image, where it is not to be told by its content.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Send the bytes through the volume's published NBD export, as a worker far away does.
    #[arg(long)]
    via_nbd: bool,
    #[command(flatten)]
    server: Server,
    /// Where compressed disks of packages are unpacked.
    #[arg(long, value_name = "DIR")]
    scratch_dir: Option<PathBuf>,
    /// The engine's own records.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/migrate-engine/migrate-engine.db"
    )]
    database: PathBuf,
    /// Write over a volume that already holds a finished copy.
    #[arg(long)]
    overwrite: bool,
    /// Begin at the begin, even where an interrupted copy could go on.
    #[arg(long)]
    from_start: bool,
    /// Leave the volumes attached.
    #[arg(long)]
    keep_attached: bool,
    /// How content is hashed: `xxh3` finds every accident, `blake3` resists forgery as well and costs several times the processor time.
    #[arg(long, value_name = "KIND", default_value_t)]
    digest: DigestKind,
    /// Do not read the volumes back. The report says so.
    #[arg(long)]
    no_verify: bool,
    /// Read back only so many of a hundred blocks of 1 MiB, by chance. The report says so.
    #[arg(long, value_name = "PERCENT", conflicts_with = "no_verify", value_parser = clap::value_parser!(u8).range(1..=100))]
    verify_sample: Option<u8>,
    /// Do not check a package against its manifest.
    #[arg(long)]
    no_manifest_check: bool,
    /// Let a qcow2 image build on others in its own folder.
    #[arg(long)]
    allow_backing: bool,
    /// At most so many bytes a second, such as `100MiB`.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// Connections and threads per disk; one per processor otherwise, from 2 to 4.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Serve the progress here meanwhile, on the loopback: `/api/v1/transfers`, `/api/v1/events` (a stream), `/metrics`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Also write the report as JSON; with several sources, `-1`, `-2`, … is added to the name.
    #[arg(long, value_name = "FILE")]
    json_report: Option<PathBuf>,
}

impl Arguments {
    /// Copies each source.
    ///
    /// # Errors
    /// What could not even be begun; the reports say so too.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        if self.vm.is_some() && self.sources.len() > 1 {
            let text = "--vm names one machine; give one source";
            Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        let board = Board::new();
        let (copier, service) = match self.begin(&board).await {
            Ok(begun) => begun,
            Err(error) => {
                for (n, source) in self.sources.iter().enumerate() {
                    app::report_failure(source, &error, self.report_path(n).as_deref())?;
                }
                return Err(error);
            }
        };
        let ending = self.copy_each(&copier, &board).await;
        if let Some(service) = service {
            service.end().await;
        }
        ending
    }

    async fn begin(&self, board: &Board) -> anyhow::Result<(Copier, Option<Service>)> {
        let service = match self.listen {
            Some(address) => Some(Service::begin(address, board.clone()).await?),
            None => None,
        };
        Ok((self.copier().await?, service))
    }

    async fn copy_each(&self, copier: &Copier, board: &Board) -> anyhow::Result<Ending> {
        let mut worst = Ending::Completed;
        for (n, source) in self.sources.iter().enumerate() {
            let json = self.report_path(n);
            match app::copy(copier, source, board, json.as_deref()).await? {
                Ending::Cancelled => return Ok(Ending::Cancelled),
                Ending::Failed => worst = Ending::Failed,
                Ending::Completed => {}
            }
        }
        Ok(worst)
    }

    async fn copier(&self) -> anyhow::Result<Copier> {
        let cancel = Cancel::new();
        app::stop_on_signals(&cancel, "stopping: what was attached is given back")?;
        let settings = self.settings();
        let scratch_dir = self.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let client = self.daemon.client()?.with_request_id(app::run_name());
        let store = Store::open(&self.database)?;
        let (run, dead) = Run::begin(self.server.runtime_dir(), &scratch_dir)?;
        clean_up_after(dead, &store, &settings.export).await;
        Ok(Copier {
            client,
            store: Arc::new(store),
            sources: self.source_options(&run),
            run,
            settings,
            cancel,
        })
    }

    fn report_path(&self, n: usize) -> Option<PathBuf> {
        let path = self.json_report.clone()?;
        if self.sources.len() == 1 {
            return Some(path);
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let extension = path
            .extension()
            .map(|e| format!(".{}", e.to_string_lossy()))
            .unwrap_or_default();
        Some(path.with_file_name(format!("{stem}-{}{extension}", n + 1)))
    }

    fn source_options(&self, run: &Run) -> Options {
        let defaults = Options::default();
        Options {
            format: self.format,
            backing: if self.allow_backing {
                Backing::SameFolder
            } else {
                Backing::Refuse
            },
            manifest: if self.no_manifest_check {
                ManifestCheck::Skip
            } else {
                ManifestCheck::Verify
            },
            scratch_dir: run.scratch().to_owned(),
            run_dir: run.dir().to_owned(),
            // One more for the sake of a connection that is about to close.
            connections: defaults
                .connections
                .max(self.workers.unwrap_or_default().saturating_add(1)),
            ..defaults
        }
    }

    fn settings(&self) -> CopySettings {
        CopySettings {
            machine: self.vm.clone(),
            buffer: self.buffer,
            route: if self.via_nbd { Route::Nbd } else { Route::Device },
            export: self.server.settings(),
            existing: if self.overwrite {
                Existing::Overwrite
            } else {
                Existing::Refuse
            },
            afterwards: if self.keep_attached {
                Afterwards::StayAttached
            } else {
                Afterwards::Detach
            },
            verification: match self.verify_sample {
                _ if self.no_verify => Verification::Skip,
                None | Some(100) => Verification::ReadBack,
                Some(percent) => Verification::Sample(percent),
            },
            journal_dir: self.database.parent().map(|folder| folder.join("journals")),
            begin: if self.from_start {
                Begin::AtTheBegin
            } else {
                Begin::WhereItWas
            },
            digest: self.digest,
            rate: self.rate.map(|rate| rate.0),
            workers: self.workers.map_or_else(usual_workers, usize::from),
            operation_timeout: self.daemon.operation_timeout(),
        }
    }
}

fn machine_name(text: &str) -> Result<String, &'static str> {
    match text.trim().is_empty() || text.chars().any(char::is_control) {
        true => Err("a name has a letter at least, and no control characters"),
        false => Ok(text.to_owned()),
    }
}
