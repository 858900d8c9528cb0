//! VMware's own library as a stand-in (`tests/vddk-stand-in`), which gets what a snapshot froze from the simulator; and what
//! only it can read.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use migrate_engine::config::VddkSettings;
use migrate_engine::source::vsphere::Vddk;
use migrate_engine::source::{Category, Changes, Mark, SourceFailure};
use serde_json::Value;
use tempfile::TempDir;

use crate::copying::{copy, said};
use crate::fixture::{Fixture, cycle};
use crate::vsphere::Vsphere;

/// The simulator knows disks by their keys, of which 2000 is the first.
const FETCH: &str = r#"#!/bin/sh
number=$(basename "$5" .vmdk) && number=${number%%-*} && number=${number#disk}
exec curl -sk --fail -o "$6" "https://$1:$2/_test/frozen?vm=${3#moref=}&disk=$((1999 + number))&snapshot=$4"
"#;

/// The stand-in's folder, and the folder for the sockets of its servers.
pub(crate) struct Library {
    folder: TempDir,
    run_dir: TempDir,
}

impl Library {
    /// `None` where a tool is missing, which is said.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) fn new(password: &str) -> Option<Self> {
        let is_there = |path: &str| Path::new(path).exists();
        if !is_there("/usr/include/nbdkit-plugin.h") || !is_there("/usr/bin/nbdkit") {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must not skip");
            eprintln!("SKIPPED: nbdkit or nbdkit-plugin-dev is missing");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let library = Self {
            run_dir: tempfile::tempdir().unwrap(),
            folder,
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vddk-stand-in/vddk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([library.path("vddk.so"), source])
            .status();
        assert!(built.unwrap().success());
        std::fs::write(library.path("libvixDiskLib.so.8"), "").unwrap();
        let fetch = library.path("fetch");
        std::fs::write(&fetch, FETCH).unwrap();
        std::fs::set_permissions(&fetch, std::fs::Permissions::from_mode(0o755)).unwrap();
        library.expect_password(password);
        Some(library)
    }

    pub(crate) fn vddk(&self) -> Vddk {
        let settings = VddkSettings {
            plugin: self.path("vddk.so"),
            ..VddkSettings::new(self.folder.path().to_owned())
        };
        Vddk::new(settings, self.run_dir.path().to_owned())
    }

    pub(crate) fn expect_password(&self, password: &str) {
        std::fs::write(self.path("password"), password).unwrap();
    }

    /// The folders of servers that are there.
    pub(crate) fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.run_dir.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect()
    }

    /// The values of a key that the library was told.
    fn told(&self, key: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("log")).unwrap();
        let values = log
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn vcenter() -> Option<Vsphere> {
    Vsphere::start_with_library(&[]).await
}

fn snapshots(fixture: &Vsphere, machine: &str) -> Vec<Value> {
    let list = fixture.site().get(&format!("snapshots?vm={machine}"));
    serde_json::from_slice(&list).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_snapshots_of_others_is_read_whole_each_time() {
    let Some(fixture) = vcenter().await else { return };
    let source = fixture.source().await;
    let machine = source.machine("odd-snapshot", None).await.unwrap();
    assert_eq!(machine.problem, None);
    assert!(
        machine
            .notes
            .iter()
            .any(|note| note.contains("before the update")),
        "{machine:?}"
    );
    for number in 1..3 {
        let body = [number; 3000];
        let hook = format!(
            "write?vm={}&disk=2000&offset={}",
            machine.id,
            512 * u32::from(number)
        );
        fixture.site().hook("POST", &hook, &body);
        let cycle = cycle(&number.to_string());
        let frozen = source.freeze(&machine, &cycle).await.unwrap();
        let disk = &frozen.disks()[0];
        assert!(disk.mark.is_none() && disk.content.is_some(), "{disk:?}");
        let before = Mark {
            mark: "52 de/1".to_owned(),
            capacity: disk.capacity,
        };
        let Changes::All {
            reason: Some(reason),
            allocated: None,
        } = frozen.changes(disk, Some(&before)).await.unwrap()
        else {
            panic!("nobody knows what changed")
        };
        assert!(reason.contains("snapshots of others"), "{reason}");
        let first = frozen.changes(disk, None).await.unwrap();
        assert!(matches!(first, Changes::All { allocated: None, .. }), "{first:?}");
        let ours = snapshots(&fixture, &machine.id)[1]["snapshot"]
            .as_str()
            .unwrap()
            .to_owned();
        let hook = format!("frozen?vm={}&disk=2000&snapshot={ours}", machine.id);
        let truth = fixture.site().get(&hook);
        let reader = frozen.reader(disk, None).await.unwrap();
        assert!(
            copy(&*reader).unwrap().0.bytes() == truth,
            "cycle {number} differs"
        );
        drop(reader);
        frozen.check().await.unwrap();
        frozen.release().await.unwrap();
        assert_eq!(snapshots(&fixture, &machine.id).len(), 1, "theirs stays");
        assert_eq!(fixture.library().told("snapshot").last(), Some(&ours));
        let file = fixture.library().told("file").pop().unwrap();
        assert!(
            file.ends_with("disk1-000001.vmdk"),
            "the link that was frozen: {file}"
        );
    }
    assert_eq!(fixture.library().left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_library_it_is_said_that_it_would_do() {
    let fixture = Vsphere::start(&[]).await;
    let source = fixture.source().await;
    let refused = source.machine("odd-snapshot", None).await.unwrap_err();
    assert_eq!(refused.category, Category::Refused);
    assert!(
        refused.to_string().contains("`vddk` in the file of sources"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_is_gone_is_said_before_anything_is_frozen() {
    let Some(fixture) = vcenter().await else { return };
    let source = fixture.source().await;
    let machine = source.machine(&fixture.names().id, None).await.unwrap();
    std::fs::remove_file(fixture.library().path("libvixDiskLib.so.8")).unwrap();
    let refused: SourceFailure = source.freeze(&machine, &cycle("1")).await.err().unwrap();
    assert_eq!((refused.category, refused.is_unknown), (Category::Refused, false));
    assert!(said(&refused).contains("unpack it there"), "{refused}");
    assert_eq!(fixture.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_believes_the_certificate_that_we_believed() {
    let Some(fixture) = vcenter().await else { return };
    let source = fixture.source().await;
    let machine = source.machine(&fixture.names().id, None).await.unwrap();
    let frozen = source.freeze(&machine, &cycle("1")).await.unwrap();
    drop(frozen.reader(&frozen.disks()[0], None).await.unwrap());
    frozen.release().await.unwrap();
    let port = fixture.site().endpoint.port();
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha1"
    );
    let shown = Command::new("sh").args(["-c", &script]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let shown = shown.trim().rsplit_once('=').unwrap().1;
    assert_eq!(fixture.library().told("thumbprint"), [shown]);
    assert_eq!(fixture.library().told("password"), ["right, in a private file"]);
}
