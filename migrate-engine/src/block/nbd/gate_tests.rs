//! Clients at a gate before a real server that serves two exports, one of which is not theirs.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::block::testing::{have, run};

/// A qemu-storage-daemon that serves `mine` and `theirs`; ended when dropped.
struct Disks(std::process::Child);

impl Disks {
    fn started(folder: &Path) -> Self {
        let mut command = Command::new("qemu-storage-daemon");
        for (name, byte) in [("mine", 1_u8), ("theirs", 2)] {
            let image = folder.join(name);
            std::fs::write(&image, vec![byte; 1 << 20]).unwrap();
            command.arg("--blockdev").arg(format!(
                "driver=file,node-name={name},filename={}",
                image.display()
            ));
        }
        let socket = format!("addr.type=unix,addr.path={}", folder.join("s").display());
        command.args(["--nbd-server", &format!("{socket},max-connections=0")]);
        for name in ["mine", "theirs"] {
            command.args([
                "--export",
                &format!("type=nbd,id={name},node-name={name},name={name},writable=on"),
            ]);
        }
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        crate::block::testing::wait_until("the server", || {
            std::os::unix::net::UnixStream::connect(folder.join("s")).is_ok()
        });
        Self(child)
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Leads whoever connects to `folder/gate` through to `mine`.
fn guard(folder: &Path) {
    let listener = UnixListener::bind(folder.join("gate")).unwrap();
    let server = folder.join("s");
    let uri: NbdUri = format!("nbd+unix:///mine?socket={}", server.display())
        .parse()
        .unwrap();
    let gate = Gate::before(&uri);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = UnixStream::connect(&server).await.unwrap();
            let gate = gate.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = gate.pass(&mut client, server).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
}

/// What `qemu-img info` and `nbdinfo`, two clients that are not ours, come to.
fn comes_to(folder: &Path, program: &str, export: &str) -> bool {
    let uri = format!("nbd+unix:///{export}?socket={}", folder.join("gate").display());
    let arguments: &[&str] = if program == "nbdinfo" {
        &["--size"]
    } else {
        &["info"]
    };
    let status = Command::new(program)
        .args(arguments)
        .arg(uri)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_to_its_export_and_to_no_other() {
    if !have(&["qemu-storage-daemon", "nbdinfo", "nbdcopy", "qemu-img"]) {
        return;
    }
    let folder = tempdir().unwrap();
    let _disks = Disks::started(folder.path());
    guard(folder.path());
    let dir = folder.path().to_owned();
    tokio::task::spawn_blocking(move || {
        for program in ["nbdinfo", "qemu-img"] {
            assert!(comes_to(&dir, program, "mine"), "{program}");
            for other in ["theirs", "", "mine2"] {
                assert!(!comes_to(&dir, program, other), "{program} came to {other:?}");
            }
        }
        let uri = format!("nbd+unix:///mine?socket={}", dir.join("gate").display());
        let copied = dir.join("copied");
        run("nbdcopy", &[&uri, copied.to_str().unwrap()]);
        assert_eq!(std::fs::read(copied).unwrap(), vec![1; 1 << 20]);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_oldest_way_to_name_an_export_and_the_list_are_closed_too() {
    if !have(&["qemu-storage-daemon"]) {
        return;
    }
    let folder = tempdir().unwrap();
    let _disks = Disks::started(folder.path());
    guard(folder.path());
    let option = |kind: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap();
        [
            &OPTION_MAGIC.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &length.to_be_bytes(),
            payload,
        ]
        .concat()
    };
    let named = [&6_u32.to_be_bytes()[..], b"theirs"].concat();
    for (kind, payload) in [
        (OPT_EXPORT_NAME, b"theirs".to_vec()),
        (OPT_GO, [&named[..], &[0, 0]].concat()),
        (OPT_INFO, [&named[..], &[0, 0]].concat()),
        (OPT_SET_META_CONTEXT, [&named[..], &[0; 4]].concat()),
        (OPT_LIST, Vec::new()),
        (OPT_STARTTLS, Vec::new()),
        (77, Vec::new()),
        (OPT_GO, vec![255; 4]),
        (OPT_GO, Vec::new()),
    ] {
        let mut client = UnixStream::connect(folder.path().join("gate")).await.unwrap();
        let mut greeting = [0; 18];
        client.read_exact(&mut greeting).await.unwrap();
        client.write_all(&3_u32.to_be_bytes()).await.unwrap();
        client.write_all(&option(kind, &payload)).await.unwrap();
        let mut answer = [0; 20];
        match client.read_exact(&mut answer).await {
            // Refused in words, or the line was closed.
            Ok(_) => assert_ne!(word(&answer[12..16]) & REP_ERROR, 0, "option {kind}: {answer:?}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "option {kind}"),
        }
    }
}
