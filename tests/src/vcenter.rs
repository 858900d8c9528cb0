//! A vCenter on this machine: the simulator of `tests/vsphere-simulator`, and what its guests do.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use migrate_engine::source::vsphere::{Credentials, Patience, Reference, Session, Trust};
use serde_json::Value;

/// Who may log in.
pub const VCENTER_USER: &str = "administrator@vsphere.local";
/// With this password.
pub const VCENTER_PASSWORD: &str = "p@ss \"<& word";

/// The first disk of each machine.
const DISK: i32 = 2000;

/// A running vCenter; ends with this.
pub struct Vcenter {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
    /// The SHA-256 fingerprint of its certificate.
    pub fingerprint: String,
}

impl Vcenter {
    /// Starts one with further options of the simulator.
    ///
    /// # Panics
    /// Where it cannot be built or started.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let mut child = Command::new(simulator())
            .args(["-username", VCENTER_USER, "-password", VCENTER_PASSWORD])
            .args(["-exit-with-stdin", "-lock-running"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut word = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name)
                .unwrap_or_else(|| panic!("{line}"))
                .trim()
                .to_owned()
        };
        let host = word("listening");
        let fingerprint = word("sha256");
        Self {
            child,
            host: host
                .trim_start_matches("https://")
                .trim_end_matches("/sdk")
                .to_owned(),
            fingerprint,
        }
    }

    /// Asks one of the simulator's hooks.
    ///
    /// # Panics
    /// Where it refuses.
    #[must_use]
    pub fn hook(&self, method: &str, name: &str, body: &[u8]) -> Vec<u8> {
        let mut curl = Command::new("curl")
            .args(["-sk", "--fail-with-body", "-X", method, "--data-binary", "@-"])
            .arg(format!("https://{}/_test/{name}", self.host))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(body).unwrap();
        let output = curl.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
        output.stdout
    }

    /// Does something to it.
    pub fn post(&self, name: &str) {
        drop(self.hook("POST", name, b""));
    }

    /// A guest writes to its first disk.
    pub fn write(&self, vm: &str, offset: u64, bytes: &[u8]) {
        let name = format!("write?vm={vm}&disk={DISK}&offset={offset}");
        drop(self.hook("POST", &name, bytes));
    }

    /// The first disk as its guest sees it.
    #[must_use]
    pub fn disk(&self, vm: &str) -> Vec<u8> {
        self.hook("GET", &format!("disk?vm={vm}&disk={DISK}"), b"")
    }

    /// The names of a machine's snapshots.
    #[must_use]
    pub fn snapshots(&self, vm: &str) -> Vec<String> {
        let found = self.hook("GET", &format!("snapshots?vm={vm}"), b"");
        let found: Vec<Value> = serde_json::from_slice(&found).unwrap();
        found
            .iter()
            .map(|one| one["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Somebody removes all snapshots of a machine.
    pub async fn remove_snapshots(&self, vm: &str) {
        let endpoint = self.host.parse().unwrap();
        let trust = Trust::Pinned(self.fingerprint.parse().unwrap());
        let credentials = Credentials::new(VCENTER_USER, VCENTER_PASSWORD);
        let session = Session::login(&endpoint, &trust, credentials, Patience::default());
        let session = session.await.unwrap();
        for node in session.snapshots(&Reference::machine(vm)).await.unwrap() {
            session.remove_snapshot(&node.reference()).await.unwrap();
        }
        session.logout().await.unwrap();
    }

    /// How often each method was called.
    #[must_use]
    pub fn calls(&self) -> Value {
        serde_json::from_slice(&self.hook("GET", "calls", b"")).unwrap()
    }
}

impl Drop for Vcenter {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// `cargo xtask test` has built it; where not, it is built here.
fn simulator() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("vsphere-simulator");
    let us = std::env::current_exe().unwrap();
    let target = us.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let place = target.expect("tests lie in cargo's target folder").join("tmp");
    std::fs::create_dir_all(&place).unwrap();
    let built = place.join("vsphere-simulator.bin");
    let lock = std::fs::File::create(place.join("vsphere-simulator.lock")).unwrap();
    lock.lock().unwrap();
    if !built.exists() {
        let output = Command::new(sources.join("build.sh"))
            .arg(&built)
            .env("XDG_CACHE_HOME", &place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\nor: cargo xtask install-deps");
    }
    built
}
