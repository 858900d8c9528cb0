//! Settings for the tests that need some, and do not care which.

use std::path::Path;
use std::time::Duration;

use super::{
    Afterwards, ExportBackend, ExportSettings, NbdServerFiles, ReplicationSettings, Tracking, Verification,
};
use crate::model::{DigestKind, Route, Size};

/// Settings that begin nothing by themselves, with all files under `dir`.
pub(crate) fn settings(dir: &Path) -> ReplicationSettings {
    let path = |name: &str| dir.join(name);
    ReplicationSettings {
        buffer: Size(0),
        route: Route::Device,
        export: ExportSettings {
            backend: ExportBackend::QemuStorageDaemon,
            nbd_server: NbdServerFiles {
                base_config: path("nbd.conf"),
                drop_in_dir: path("nbd.d"),
                node_dir: path("nodes"),
            },
            runtime_dir: path("run"),
            listen: super::parse_listen("/nowhere").unwrap(),
            tls: None,
            allow: Vec::new(),
            own_ports: 10810..=10873,
        },
        afterwards: Afterwards::Detach,
        verification: Verification::ReadBack,
        tracking: Tracking::Believed,
        journal_dir: None,
        digest: DigestKind::default(),
        workers: 1,
        operation_timeout: Duration::from_secs(1),
        at_once: 1,
        at_once_per_host: 1,
        attempts: 1,
        retry_pause: Duration::from_secs(1),
        worker_patience: Duration::from_secs(1),
    }
}
