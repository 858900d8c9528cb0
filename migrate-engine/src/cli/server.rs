//! The arguments that say which NBD server publishes volumes, where it listens, and where its files are.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nbd_export::{NbdAddress, Tls};

use crate::config::{AllowEntry, ExportBackend, ExportSettings, NbdServerFiles, parse_listen};

/// Which server.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Who serves the export.
    #[arg(long, value_enum, default_value = "qemu-storage-daemon")]
    exporter: Backend,
    /// Where the export is served: `HOST:PORT`, or the path of a Unix socket. Shared by all exports. Anything but loopback and
    /// Unix sockets needs TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10809", value_parser = parse_listen)]
    nbd_listen: NbdAddress,
    /// Serve over TLS: the folder of `ca-cert.pem`, `server-cert.pem`, `server-key.pem`, and the engine's own `client-cert.pem` and
    /// `client-key.pem`. Clients need a certificate of the same authority.
    #[arg(long, value_name = "DIR")]
    nbd_tls_certificates: Option<PathBuf>,
    /// A name that is in the server's certificate, where the address that it listens on is not.
    #[arg(long, value_name = "NAME", requires = "nbd_tls_certificates")]
    nbd_tls_hostname: Option<String>,
    /// Serve over TLS with pre-shared keys: the folder of `keys.psk`. For clients from outside; the engine itself has certificates
    /// only.
    #[arg(long, value_name = "DIR", conflicts_with = "nbd_tls_certificates")]
    nbd_tls_psk: Option<PathBuf>,
    /// Who may connect, repeatable: for qemu-storage-daemon the subject of a certificate (`CN=backup`), for nbd-server an address
    /// or network (`10.0.0.0/24`). After a volume's id and `=`: to its export only. Nobody named: whoever the server lets in.
    #[arg(long, value_name = "[VOLUME=]WHO")]
    nbd_allow: Vec<AllowEntry>,
    /// The ports of exports for which somebody is named: with qemu-storage-daemon each needs one of its own.
    #[arg(long, value_name = "FIRST-LAST", default_value = "10810-10873", value_parser = ports)]
    nbd_allow_ports: RangeInclusive<u16>,
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
            tls: self.tls(),
            allow: self.nbd_allow.clone(),
            own_ports: self.nbd_allow_ports.clone(),
        }
    }

    fn tls(&self) -> Option<Tls> {
        let certificates = self.nbd_tls_certificates.clone().map(|folder| Tls::Certificates {
            folder,
            hostname: self.nbd_tls_hostname.clone(),
        });
        certificates.or_else(|| self.nbd_tls_psk.clone().map(|folder| Tls::Keys { folder }))
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text
        .split_once('-')
        .and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    range
        .filter(|range| *range.start() > 0 && !range.is_empty())
        .ok_or_else(|| "it is not FIRST-LAST, two numbers of ports".to_owned())
}
