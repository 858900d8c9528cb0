//! Sources as they come, on real images and real servers; and what must be gone afterwards.

mod hostile;
mod images;
mod packages;
pub(super) mod tar;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Options, ServedDisk, SourceDisk, SourceError, SourceMachine};

/// Folders of one test, removed with it, and options that point there.
struct Bench {
    root: tempfile::TempDir,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["run", "scratch", "src"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let mut options = Options {
            run_dir: root.path().join("run"),
            scratch_dir: root.path().join("scratch"),
            ..Options::default()
        };
        options.limits.scratch_reserve = 0;
        Bench { root, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("src").join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A raw disk of `size` bytes with some data in it, different for each `seed`.
    fn raw(&self, name: &str, size: usize, seed: u8) -> PathBuf {
        let mut bytes = vec![0; size];
        for (index, chunk) in bytes.chunks_mut(64 * 1024).enumerate().step_by(3) {
            for (at, byte) in chunk.iter_mut().enumerate() {
                *byte = u8::try_from((at * 31 + index * 7 + usize::from(seed)) % 251).unwrap();
            }
        }
        self.write(name, bytes)
    }

    /// `raw` converted by qemu-img.
    fn image(&self, raw: &Path, name: &str, format: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut arguments: Vec<&OsStr> =
            vec!["convert".as_ref(), "-f".as_ref(), "raw".as_ref(), "-O".as_ref()];
        arguments.extend(format.iter().map(OsStr::new));
        arguments.extend([raw.as_os_str(), path.as_os_str()]);
        qemu_img(&arguments);
        path
    }

    async fn open(&self, path: impl AsRef<OsStr>) -> Result<SourceMachine, SourceError> {
        super::open(path, &self.options).await
    }

    async fn refused(&self, path: impl AsRef<OsStr>) -> SourceError {
        let path = path.as_ref();
        let error = match self.open(path).await {
            Ok(machine) => panic!("{} was accepted: {machine:?}", path.display()),
            Err(error) => error,
        };
        self.assert_clean();
        error
    }

    /// Serves the disk and compares it with a raw file, bit for bit.
    async fn assert_serves(&self, disk: &SourceDisk, raw: &Path) {
        let served = disk
            .serve(&self.options)
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(served.size(), disk.capacity_bytes);
        compare(&served, raw);
        let server = served.server_id();
        served.stop().await.unwrap();
        assert!(server.is_none_or(|id| !lives(id)), "a stopped server is reaped");
    }

    /// Nothing of ours is in the folders that were lent to us.
    fn assert_clean(&self) {
        for dir in [&self.options.run_dir, &self.options.scratch_dir] {
            let left: Vec<_> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

fn compare(served: &ServedDisk, raw: &Path) {
    let nbd = served.uri();
    // The sizes of formats with geometry are rounded up; the rest must then read as zeros.
    qemu_img(&[
        "compare".as_ref(),
        "-f".as_ref(),
        "raw".as_ref(),
        "-F".as_ref(),
        "raw".as_ref(),
        raw.as_os_str(),
        nbd.as_ref(),
    ]);
}

fn qemu_img(arguments: &[&OsStr]) {
    let output = Command::new("qemu-img")
        .args(arguments)
        .output()
        .expect("the package qemu-utils is installed");
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {} {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An error with its causes, as a person sees it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[expect(clippy::disallowed_methods, reason = "the one polling helper of these tests")]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come true in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says loudly that a test does not run here; in CI that is a failure.
fn tools_missing() -> bool {
    let missing: Vec<_> = ["qemu-img", "qemu-nbd"]
        .into_iter()
        .filter(|tool| Command::new(tool).arg("--version").output().is_err())
        .collect();
    if missing.is_empty() {
        return false;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "missing in CI: {missing:?}"
    );
    eprintln!("SKIPPED: {missing:?} not installed (package qemu-utils)");
    true
}
