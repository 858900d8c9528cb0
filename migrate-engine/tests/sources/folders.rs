//! Folders for one test: its files, and what a source is lent for sockets and unpacked disks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use migrate_engine::source::{FileSource, Options};

/// Removed with its test.
pub(crate) struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    /// `None` where a tool is missing, which is said.
    pub(crate) fn new() -> Option<Self> {
        if tools_missing() {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        for folder in ["run", "scratch", "src"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Some(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("src")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An image of these bytes. `format` is what `qemu-img convert -O` is given.
    pub(crate) fn image(&self, bytes: &[u8], format: &[&str]) -> Vec<u8> {
        let (from, to) = (self.root.path().join("from"), self.root.path().join("to"));
        std::fs::write(&from, bytes).unwrap();
        let mut arguments: Vec<&OsStr> = ["convert", "-f", "raw", "-O"].map(OsStr::new).to_vec();
        arguments.extend(format.iter().map(OsStr::new));
        arguments.extend([from.as_os_str(), to.as_os_str()]);
        let output = Command::new("qemu-img").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::read(to).unwrap()
    }

    /// A source over the folder.
    pub(crate) fn source(&self) -> FileSource {
        FileSource::new(self.folder(), options(self.root.path()))
    }

    /// What a source has left: files, and servers of ours that run.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = servers(self.root.path());
        for folder in ["run", "scratch"] {
            let Ok(entries) = std::fs::read_dir(self.root.path().join(folder)) else {
                continue;
            };
            left.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        left.sort();
        left
    }
}

/// How a source is opened that has a bench at `root`.
pub(crate) fn options(root: &Path) -> Options {
    let mut options = Options {
        run_dir: root.join("run"),
        scratch_dir: root.join("scratch"),
        ..Options::default()
    };
    options.limits.scratch_reserve = 0;
    options
}

/// The commands of processes that name something below `root`.
fn servers(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    let commands = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let command = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&command).replace('\0', " "))
    });
    commands.filter(|command| command.contains(root)).collect()
}

/// Says loudly that a test does not run here; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "this is where it is said")]
fn tools_missing() -> bool {
    let is_missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    let missing: Vec<_> = ["qemu-img", "qemu-nbd"].into_iter().filter(is_missing).collect();
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
