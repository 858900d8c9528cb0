//! The arguments that say which NBD server publishes volumes, where it listens, and where its files are.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nbd_export::NbdAddress;

use crate::config::{ExportBackend, ExportSettings, NbdServerFiles, parse_listen};

/// Which server.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Who serves the export.
    #[arg(long, value_enum, default_value = "qemu-storage-daemon")]
    exporter: Backend,
    /// Where the export is served: `HOST:PORT`, or the path of a Unix socket. Shared by all exports. NBD has no secrets:
    /// other than loopback only where the network is trusted.
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
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    /// Direct I/O, live add and remove.
    QemuStorageDaemon,
    /// Debian's nbd-server.
    NbdServer,
}

impl Server {
    pub(super) fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }

    pub(super) fn settings(&self) -> ExportSettings {
        ExportSettings {
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
        }
    }
}
