//! nbdkit's plugin for VDDK as a stand-in of ours (`tests/vddk-stand-in/vddk.c`), and what one test has of it.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::super::{Vddk, VddkDisk, VddkError, VddkLogin, VddkPlace};
use crate::block::testing::{Random, have, run};
use crate::block::{BlockRead, BufferPool, Cancel, ExtentKind, ReadRequest};
use crate::config::VddkSettings;
use crate::source::vsphere::{Credentials, Thumbprint};

pub(super) const PASSWORD: &str = "p@ss \"<& of the library";
pub(super) const SIZE: usize = 3 << 20;

/// A stand-in's folder, with a disk of data and zeroes, and the folder for what is ours.
pub(super) struct StandIn {
    place: TempDir,
    pub(super) run_dir: TempDir,
    pub(super) disk: Vec<u8>,
    pub(super) ends: TaskTracker,
}

impl StandIn {
    /// Builds the plugin, and makes a disk. `None` where a tool, or the header that the plugin is built with, is missing.
    pub(super) fn new() -> Option<Self> {
        if !have(&["cc", "nbdkit", "../include/nbdkit-plugin.h"]) {
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vddk-stand-in/vddk.c");
        let plugin = place.path().join("vddk.so");
        run(
            "cc",
            &[
                "-shared",
                "-fPIC",
                "-o",
                plugin.to_str().unwrap(),
                source.to_str().unwrap(),
            ],
        );
        std::fs::create_dir(place.path().join("lib64")).unwrap();
        let mut random = Random(7);
        let mut disk = vec![0; SIZE];
        disk[..100_000].copy_from_slice(&random.bytes(100_000));
        disk[2 << 20..][..512].copy_from_slice(&random.bytes(512));
        let stand_in = Self {
            place,
            run_dir: tempfile::tempdir().unwrap(),
            disk,
            ends: TaskTracker::new(),
        };
        stand_in.put("lib64/libvixDiskLib.so.8.0.3", b"");
        stand_in.put("password", PASSWORD.as_bytes());
        stand_in.put("disk", &stand_in.disk);
        Some(stand_in)
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// A script in the folder.
    pub(super) fn script(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text.as_bytes());
        let path = self.path().join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(super) fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    pub(super) fn settings(&self) -> VddkSettings {
        VddkSettings {
            plugin: self.path().join("vddk.so"),
            ..VddkSettings::new(self.path().to_owned())
        }
    }

    pub(super) fn vddk(&self) -> Vddk {
        Vddk::new(self.settings(), self.run_dir.path().to_owned())
    }

    pub(super) async fn open(&self) -> Result<VddkDisk, VddkError> {
        self.open_with(&self.vddk(), PASSWORD, None).await
    }

    pub(super) async fn open_with(
        &self,
        vddk: &Vddk,
        password: &str,
        allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<VddkDisk, VddkError> {
        vddk.open(&login(password), &place(), allocated, &self.ends).await
    }

    /// What is left of ours.
    pub(super) fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.run_dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits for the ends of all nbdkits, and sees that nothing is left.
    pub(super) async fn assert_nothing_is_left(&self) {
        self.ends.close();
        tokio::time::timeout(Duration::from_secs(30), self.ends.wait())
            .await
            .unwrap();
        assert!(self.left().is_empty(), "{:?}", self.left());
        let ours = self.path().to_str().unwrap();
        crate::block::testing::wait_until("the end of each nbdkit", || !runs_with(ours));
    }
}

pub(super) fn login(password: &str) -> VddkLogin {
    VddkLogin {
        server: "vc.example:8443".parse().unwrap(),
        credentials: Credentials::new("root@vsphere.local", password),
        thumbprint: Thumbprint::of(b"a certificate"),
    }
}

pub(super) fn place() -> VddkPlace {
    VddkPlace {
        machine: "vm-57".to_owned(),
        snapshot: "snapshot-70".to_owned(),
        file: "[data store] a=b/näme.vmdk".to_owned(),
        label: "Hard disk 1".to_owned(),
        capacity: SIZE as u64,
    }
}

/// Whether a process that is no zombie has this in its arguments.
fn runs_with(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().any(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(argument)
    })
}

/// Reads the disk as a copy does: what is in use.
pub(super) fn read(disk: &dyn BlockRead) -> Result<Vec<u8>, crate::block::BlockError> {
    const PIECE: u64 = 256 << 10;
    let mut worker = disk.open_worker(&Cancel::new())?;
    let mut content = vec![0; usize::try_from(disk.size()).unwrap()];
    let pool = BufferPool::new(1, usize::try_from(PIECE).unwrap(), 4096);
    for extent in worker.extents(0..disk.size())? {
        let mut at = extent.offset;
        while extent.kind == ExtentKind::Data && at < extent.end() {
            let length = usize::try_from(PIECE.min(extent.end() - at)).unwrap();
            worker.submit(ReadRequest {
                offset: at,
                buffer: pool.take().unwrap(),
                wanted: std::iter::once(0..length).collect(),
            })?;
            let request = worker.complete()?;
            let start = usize::try_from(at).unwrap();
            content[start..start + length].copy_from_slice(&request.buffer[..length]);
            at += length as u64;
        }
    }
    Ok(content)
}

/// An error with its causes, as it is shown.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
