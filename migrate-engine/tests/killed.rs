//! The engine killed with SIGKILL in the middle of copies, a hundred times: each copy goes on from its journal, and what comes
//! of it is the source to the byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

const SIZE: u64 = 96 << 20;
/// What a copy takes at least, so that there is a middle of it.
const RATE: u64 = 256 << 20;
const KILLS: usize = 100;

/// xorshift: a stream of numbers that repeats itself.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// An image with data, zeroes and holes, on a server of its own.
struct Source {
    _folder: TempDir,
    server: Child,
    image: PathBuf,
    uri: String,
}

impl Source {
    fn new(random: &mut Random) -> Self {
        let folder = tempdir().unwrap();
        let (image, socket) = (folder.path().join("image"), folder.path().join("nbd"));
        let file = File::create(&image).unwrap();
        file.set_len(SIZE).unwrap();
        let mut at = 0;
        while at < SIZE {
            let length = (64 << 10) * (1 + random.below(40)).min((SIZE - at) / (64 << 10)).max(1);
            let count = usize::try_from(length.min(SIZE - at)).unwrap();
            match random.below(4) {
                0 => {}
                1 => file.write_all_at(&vec![0; count], at).unwrap(),
                _ => {
                    let mut bytes = vec![0; count];
                    let mut hasher = blake3::Hasher::new();
                    hasher
                        .update(&random.below(u64::MAX).to_le_bytes())
                        .finalize_xof()
                        .fill(&mut bytes);
                    file.write_all_at(&bytes, at).unwrap();
                }
            }
            at += length;
        }
        // Not nbdkit: 1.32 ends with a failed assertion when clients die in the middle of their reads.
        let server = Command::new("qemu-nbd")
            .args([
                "--persistent",
                "--read-only",
                "--shared=16",
                "--format=raw",
                "--socket",
            ])
            .arg(&socket)
            .arg(&image)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "qemu-nbd does not come up");
            pause(5);
        }
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        Self {
            _folder: folder,
            server,
            image,
            uri,
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of times")]
fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn engine(source: &Source, target: &Path, journal: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate-engine"));
    command.arg("bench-copy").arg(&source.uri).arg(target);
    command
        .arg("--journal")
        .arg(journal)
        .args(["--source-version", "1", "--checkpoint-ms", "40"]);
    command.args(["--rate", &RATE.to_string()]);
    command
}

fn equal(image: &Path, target: &Path) -> bool {
    let compared = Command::new("cmp")
        .arg("--bytes")
        .arg(SIZE.to_string())
        .arg(image)
        .arg(target)
        .status();
    compared.unwrap().success()
}

#[test]
fn a_hundred_kills_and_every_copy_is_equal() {
    let has_server = Command::new("qemu-nbd").arg("--version").output().is_ok();
    if !has_server {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must not skip: no qemu-nbd"
        );
        return eprintln!("SKIPPED: no qemu-nbd");
    }
    let mut random = Random(0x5eed_0001);
    let (mut kills, mut copies, mut resumed, mut saved) = (0, 0, 0, 0u64);
    while kills < KILLS {
        let source = Source::new(&mut random);
        let folder = tempdir().unwrap();
        let (target, journal) = (folder.path().join("target"), folder.path().join("journal"));
        // Old bytes everywhere: what is not copied or zeroed shows.
        std::fs::write(&target, vec![0xaa; usize::try_from(SIZE).unwrap() + 4096]).unwrap();
        let mut left = 8;
        let last = loop {
            let mut copying = engine(&source, &target, &journal);
            let mut child = copying
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            if left > 0 {
                pause(random.below(350));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    (kills, left) = (kills + 1, left - 1);
                    continue;
                }
            }
            break child.wait_with_output().unwrap();
        };
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        let report: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
        let bytes = report["bytes_resumed"].as_u64().unwrap();
        (copies, resumed, saved) = (copies + 1, resumed + usize::from(bytes > 0), saved + bytes);
        assert!(
            equal(&source.image, &target),
            "copy {copies}, after {kills} kills in all"
        );
        assert!(!journal.exists());
    }
    eprintln!(
        "{kills} kills, {copies} copies, {resumed} of them resumed, {} MiB saved",
        saved >> 20
    );
    assert!(
        resumed * 2 > copies,
        "the journal helped {resumed} of {copies} copies only"
    );
}
