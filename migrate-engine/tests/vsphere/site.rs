//! A simulator of a vCenter or a host, and what the tests ask of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use migrate_engine::source::vsphere::{
    Credentials, Endpoint, Machine, Patience, Query, Quiesce, Reference, Session, SnapshotRequest, Trust,
};

pub(crate) const USER: &str = "administrator@vsphere.local";
pub(crate) const PASSWORD: &str = "p@ss \"<&";
pub(crate) const OWNER: &str = "migrate-engine of appliance 1";

/// A vCenter, and a host alone.
pub(crate) const MODELS: [&[&str]; 2] = [&[], &["-esx"]];

/// A running simulator; ends with this.
pub(crate) struct Site {
    child: Child,
    pub(crate) endpoint: Endpoint,
    pub(crate) trust: Trust,
}

impl Site {
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut child = Command::new(simulator())
            .args(["-username", USER, "-password", PASSWORD, "-exit-with-stdin"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut word = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            let (found, value) = line.split_once(' ').unwrap();
            assert_eq!(found, name);
            value.trim().to_owned()
        };
        let endpoint = word("listening").parse().unwrap();
        let trust = Trust::Pinned(word("sha256").parse().unwrap());
        Self {
            child,
            endpoint,
            trust,
        }
    }

    pub(crate) async fn login(&self) -> Session {
        self.login_with(Patience::default()).await
    }

    pub(crate) async fn login_with(&self, patience: Patience) -> Session {
        Session::login(
            &self.endpoint,
            &self.trust,
            Credentials::new(USER, PASSWORD),
            patience,
        )
        .await
        .unwrap()
    }

    pub(crate) fn hook(&self, method: &str, name: &str, body: &[u8]) -> Vec<u8> {
        let mut curl = Command::new("curl")
            .args(["-sk", "--fail-with-body", "-X", method, "--data-binary", "@-"])
            .arg(format!("https://127.0.0.1:{}/_test/{name}", self.endpoint.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(body).unwrap();
        let output = curl.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        output.stdout
    }

    pub(crate) fn post(&self, name: &str) {
        self.hook("POST", name, b"");
    }

    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        self.hook("GET", name, b"")
    }

    pub(crate) fn frozen(&self, vm: &str, key: i32, snapshot: &Reference) -> Vec<u8> {
        self.get(&format!("frozen?vm={vm}&disk={key}&snapshot={}", snapshot.id))
    }

    /// The guest writes at places that follow from `seed`.
    pub(crate) fn scribble(&self, vm: &str, key: i32, size: u64, seed: u64, times: u64) {
        let mut state = seed;
        for _ in 0..times {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let offset = (state >> 20) % (size / 512) * 512;
            let body = [(state >> 56) as u8 | 1; 3000];
            let body = &body[..3000.min((size - offset) as usize)];
            self.hook("POST", &format!("write?vm={vm}&disk={key}&offset={offset}"), body);
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

pub(crate) fn everything() -> Query {
    Query::default()
}

pub(crate) fn by_name(name: &str) -> Query {
    Query {
        machine: Some(name.to_owned()),
        ..Query::default()
    }
}

pub(crate) async fn first(session: &Session) -> Machine {
    session.discover(&everything()).await.unwrap().machines[0].clone()
}
pub(crate) fn request(name: &str) -> SnapshotRequest {
    SnapshotRequest {
        name: format!("volumed-{name}"),
        description: OWNER.to_owned(),
        quiesce: Quiesce::No,
    }
}
pub(crate) fn with<'a>(model: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [model, more].concat()
}

/// The simulator, built where it is missing or older than its sources; `cargo xtask test` has built it before.
fn simulator() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vsphere-simulator");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let built = place.join("vsphere-simulator.bin");
    let lock = std::fs::File::create(place.join("vsphere-simulator.lock")).unwrap();
    lock.lock().unwrap();
    let time = |path: &Path| path.metadata().and_then(|meta| meta.modified());
    let newest = std::fs::read_dir(&sources)
        .unwrap()
        .map(|entry| time(&entry.unwrap().path()).unwrap())
        .max();
    if time(&built).ok() < newest {
        let output = Command::new(sources.join("build.sh"))
            .arg(&built)
            .env("XDG_CACHE_HOME", place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\nor: cargo xtask install-deps");
    }
    built
}
