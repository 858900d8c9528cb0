//! Loop devices, mounts and processes for the device tests; all are taken back when dropped.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test support")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use volumed::device::{Expectation, loop_identity_of_file};
use volumed::model::Bytes;

pub(crate) const SIZE: Bytes = Bytes(16 << 20);

/// Whether the test can run here; on CI it must.
pub(crate) fn can_run(tools: &[&str]) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        "root".to_owned()
    } else if !Path::new("/dev/loop-control").exists() {
        "/dev/loop-control".to_owned()
    } else {
        let absent = |tool: &&&str| {
            !Command::new("which")
                .arg(tool)
                .output()
                .is_ok_and(|o| o.status.success())
        };
        match tools.iter().chain(&["losetup"]).find(absent) {
            Some(tool) => (*tool).to_owned(),
            None => return true,
        }
    };
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "this test needs {missing}, and on CI it must run"
    );
    eprintln!("SKIPPED: needs {missing}");
    false
}

/// Waits until `condition` gives something, for at most ten seconds.
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not happen within ten seconds");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one pause of the one polling loop")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Runs a tool that must succeed; returns what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A sparse file of [`SIZE`] with its marker at the beginning.
pub(crate) struct Backing {
    pub(crate) file: tempfile::NamedTempFile,
    pub(crate) marker: [u8; 16],
}

impl Backing {
    pub(crate) fn new(marker: &[u8; 16]) -> Backing {
        Backing::within(&std::env::temp_dir(), marker)
    }

    pub(crate) fn within(dir: &Path, marker: &[u8; 16]) -> Backing {
        let file = tempfile::NamedTempFile::new_in(dir).unwrap();
        file.as_file().set_len(SIZE.0).unwrap();
        file.as_file().write_all_at(marker, 0).unwrap();
        file.as_file().sync_all().unwrap();
        Backing {
            file,
            marker: *marker,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.file.path().to_str().unwrap()
    }

    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            identity: loop_identity_of_file(self.file.as_file()).unwrap(),
            size: SIZE,
        }
    }

    pub(crate) fn attach(&self) -> Loop {
        self.attach_with(&[])
    }

    pub(crate) fn attach_with(&self, options: &[&str]) -> Loop {
        let mut args = options.to_vec();
        args.extend(["--find", "--show", self.path()]);
        Loop {
            node: run("losetup", &args).into(),
            attached: true,
        }
    }
}

/// The marker that is read at the beginning of an open disk.
pub(crate) fn marker_of(disk: &File) -> std::io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    disk.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// An attached loop device.
pub(crate) struct Loop {
    pub(crate) node: PathBuf,
    attached: bool,
}

impl Loop {
    pub(crate) fn node(&self) -> &str {
        self.node.to_str().unwrap()
    }

    pub(crate) fn name(&self) -> &str {
        self.node.file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn detach(mut self) {
        self.attached = false;
        run("losetup", &["--detach", self.node()]);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.attached {
            let _ = Command::new("losetup").arg("--detach").arg(&self.node).output();
        }
    }
}

/// A mounted file system.
pub(crate) struct Mounted {
    pub(crate) at: tempfile::TempDir,
}

impl Mounted {
    pub(crate) fn new(node: &str) -> Mounted {
        let at = tempfile::tempdir().unwrap();
        run("mount", &[node, at.path().to_str().unwrap()]);
        Mounted { at }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.at.path()).output();
    }
}

/// A process of ours, ended when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Process {
        Process(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
