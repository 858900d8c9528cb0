//! Tests of the configuration of the four steps, on real files.

mod crash;
mod document;
mod edit;
mod file;
mod import;
mod watch;
mod writers;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Connection, KvmConnection, StepsFile};
use crate::model::Secret;

/// As the programs that came before write it.
const EXISTING: &str = r#"{
  "source": {
    "esxi_host": "192.0.2.74",
    "esxi_user": "root",
    "esxi_pass": "hunter2"
  },
  "destination": {
    "proxmox_host": "192.0.2.80",
    "proxmox_user": "root@pam",
    "proxmox_pass": "hunter3",
    "kvm_host": "",
    "kvm_user": "",
    "kvm_pass": "",
    "kvm_storage_pool": ""
  },
  "storage": "local-lvm",
  "export_root": "./exports",
  "ovftool": "ovftool",
  "selected_vms": [
    1,
    3
  ]
}"#;

/// A folder with a configuration in it, or without.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn with(text: &str) -> Self {
        let place = Self::empty();
        place.put(text);
        place
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("config.json")
    }

    fn file(&self) -> StepsFile {
        StepsFile::at(&self.path()).unwrap()
    }

    /// Writes in place, as the simplest of editors does.
    fn put(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        set_mode(&self.path(), 0o600);
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// The names in the folder, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn connection(host: &str) -> Connection {
    Connection {
        host: host.to_owned(),
        user: "root".to_owned(),
        password: Secret::new("hush"),
    }
}

fn kvm(host: &str) -> KvmConnection {
    KvmConnection {
        host: host.to_owned(),
        user: "root".to_owned(),
        password: None,
        storage_pool: "default".to_owned(),
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
