//! `migrate-engine copy`: what may be asked, and the settings that it means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, ValueEnum};
use nbd_export::NbdAddress;
use volume_client::VolumedClient;

use super::Cli;
use crate::app::{self, Ending};
use crate::block::Cancel;
use crate::config::{
    Afterwards, CopySettings, Existing, ExportBackend, ExportSettings, NbdServerFiles, Verification,
    parse_listen,
};
use crate::model::{Route, Size};
use crate::pipeline::{Copier, clean_up_after};
use crate::source::{Backing, Format, ManifestCheck, Options};
use crate::store::{Run, Store};

/// Copy disks into volumes, and prove that they are equal.
///
/// Each disk gets a volume of its capacity plus a buffer, through the daemon; the device is written only after it was
/// proven to be the volume's. What was copied is read back and compared with a digest that was computed while copying.
/// Run again after a failure, it uses the same volumes. Ctrl-C stops in good order.
///
/// Exit status: 0 copied and verified, 1 failed, 2 wrong usage, 130 stopped by a signal.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Images (raw, qcow2, vmdk, vhd, vhdx), OVA or OVF packages, or NBD addresses (`nbd://…`, `nbd+unix://…`).
    #[arg(required = true)]
    sources: Vec<String>,
    /// The daemon's Unix socket.
    #[arg(
        long,
        env = "VOLUMED_SOCKET",
        value_name = "PATH",
        conflicts_with = "volumed_url"
    )]
    volumed_socket: Option<PathBuf>,
    /// The daemon's address on loopback.
    #[arg(long, env = "VOLUMED_URL", value_name = "URL")]
    volumed_url: Option<String>,
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
    /// Who serves the export.
    #[arg(long, value_enum, default_value = "qemu-storage-daemon")]
    exporter: Backend,
    /// Where the export is served: `HOST:PORT`, or the path of a Unix socket. Shared by all exports.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10809", value_parser = parse_listen)]
    nbd_listen: NbdAddress,
    /// The main configuration of nbd-server: the appliance's own, or written where there is none.
    #[arg(long, value_name = "PATH", default_value = "/etc/nbd-server/config-base")]
    nbd_server_config: PathBuf,
    /// The folder of nbd-server's exports, one file each; included by its main configuration.
    #[arg(long, value_name = "DIR", default_value = "/etc/nbd-server/export.d")]
    nbd_server_exports: PathBuf,
    /// The folder of the device nodes that nbd-server opens; not on a file system mounted `nodev`.
    #[arg(long, value_name = "DIR", default_value = "/dev/nbd-export")]
    nbd_server_nodes: PathBuf,
    /// Where sockets, locks and logs are kept. Engines that share it share the NBD server, and clean up after each other.
    #[arg(long, value_name = "DIR", default_value = "/run/migrate-engine")]
    runtime_dir: PathBuf,
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
    /// Leave the volumes attached.
    #[arg(long)]
    keep_attached: bool,
    /// Do not read the volumes back. The report says so.
    #[arg(long)]
    no_verify: bool,
    /// Do not check a package against its manifest.
    #[arg(long)]
    no_manifest_check: bool,
    /// Let a qcow2 image build on others in its own folder.
    #[arg(long)]
    allow_backing: bool,
    /// At most so many bytes a second, such as `100MiB`.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// Connections and threads per disk.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// How long an operation of the daemon is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 150)]
    operation_timeout: u64,
    /// Also write the report as JSON; with several sources, `-1`, `-2`, … is added to the name.
    #[arg(long, value_name = "FILE")]
    json_report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    /// Direct I/O, live add and remove.
    QemuStorageDaemon,
    /// Debian's nbd-server.
    NbdServer,
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
        let copier = match self.copier().await {
            Ok(copier) => copier,
            Err(error) => {
                for (n, source) in self.sources.iter().enumerate() {
                    app::report_failure(source, &error, self.report_path(n).as_deref())?;
                }
                return Err(error);
            }
        };
        let mut worst = Ending::Completed;
        for (n, source) in self.sources.iter().enumerate() {
            let json = self.report_path(n);
            match app::copy(&copier, source, json.as_deref()).await? {
                Ending::Cancelled => return Ok(Ending::Cancelled),
                Ending::Failed => worst = Ending::Failed,
                Ending::Completed => {}
            }
        }
        Ok(worst)
    }

    async fn copier(&self) -> anyhow::Result<Copier> {
        let cancel = Cancel::new();
        app::stop_on_signals(&cancel)?;
        let settings = self.settings();
        let scratch_dir = self.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let client = self.client()?;
        let store = Store::open(&self.database)?;
        let (run, dead) = Run::begin(&self.runtime_dir, &scratch_dir)?;
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

    fn client(&self) -> anyhow::Result<VolumedClient> {
        let builder = VolumedClient::builder();
        let builder = match (&self.volumed_socket, &self.volumed_url) {
            (Some(socket), _) => builder.unix(socket),
            (None, Some(url)) => builder.http(url),
            (None, None) => builder.from_env(),
        };
        Ok(builder.build()?)
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
            connections: defaults.connections.max(self.workers.saturating_add(1)),
            ..defaults
        }
    }

    fn settings(&self) -> CopySettings {
        let export = ExportSettings {
            backend: match self.exporter {
                Backend::QemuStorageDaemon => ExportBackend::QemuStorageDaemon,
                Backend::NbdServer => ExportBackend::NbdServer,
            },
            nbd_server: NbdServerFiles {
                base_config: self.nbd_server_config.clone(),
                drop_in_dir: self.nbd_server_exports.clone(),
                node_dir: self.nbd_server_nodes.clone(),
            },
            runtime_dir: self.runtime_dir.clone(),
            listen: self.nbd_listen.clone(),
        };
        CopySettings {
            machine: self.vm.clone(),
            buffer: self.buffer,
            route: if self.via_nbd { Route::Nbd } else { Route::Device },
            export,
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
            verification: if self.no_verify {
                Verification::Skip
            } else {
                Verification::ReadBack
            },
            rate: self.rate.map(|rate| rate.0),
            workers: self.workers.into(),
            operation_timeout: Duration::from_secs(self.operation_timeout),
        }
    }
}

fn machine_name(text: &str) -> Result<String, &'static str> {
    match text.trim().is_empty() || text.chars().any(char::is_control) {
        true => Err("a name has a letter at least, and no control characters"),
        false => Ok(text.to_owned()),
    }
}
