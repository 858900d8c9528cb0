//! What is measured: the copy tools with the options of who wants them fast, the source's server, the target's device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{command, output};
use crate::console;
use crate::run::Run;
use crate::wait::wait_until;

/// The name of ours among the tools.
pub(super) const OURS: &str = "migrate-engine";

/// A program that copies an NBD source to a block device.
#[derive(Clone, Debug)]
pub(super) enum Tool {
    Engine(PathBuf),
    QemuImg,
    NbdCopy,
}

impl Tool {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Engine(_) => OURS,
            Self::QemuImg => "qemu-img convert",
            Self::NbdCopy => "nbdcopy",
        }
    }

    fn command(&self, run: &Run, socket: &Path, device: &Path) -> Command {
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        let mut command = match self {
            Self::Engine(program) => {
                let mut command = run.command(program);
                command.arg("bench-copy").arg(uri);
                command
            }
            Self::QemuImg => {
                let mut command = run.command("qemu-img");
                command.args("convert -n -W -m16 -t none -T none -f raw -O raw".split(' '));
                command.arg(format!("nbd:unix:{}", socket.display()));
                command
            }
            Self::NbdCopy => {
                let mut command = run.command("nbdcopy");
                command.arg("--flush").arg(uri);
                command
            }
        };
        command.arg(device);
        command
    }

    /// Copies once; the time of the whole process, from its start to its end.
    pub(super) fn time(&self, run: &Run, socket: &Path, device: &Path) -> Result<Duration> {
        let mut command = self.command(run, socket, device);
        let start = Instant::now();
        output(&mut command)?;
        Ok(start.elapsed())
    }
}

/// An image served over NBD. Ended when dropped.
pub(super) struct Source {
    child: Child,
    pub(super) socket: PathBuf,
}

impl Source {
    /// Serves `image` read-only on a Unix socket of the run.
    pub(super) fn serve(run: &Run, image: &Path) -> Result<Self> {
        let socket = run.dir().join("source.sock");
        let mut nbdkit = run.command("nbdkit");
        nbdkit
            .args(["-f", "-r", "-U"])
            .arg(&socket)
            .arg("file")
            .arg(image);
        let child = nbdkit.spawn().context("cannot start nbdkit")?;
        let mut source = Self { child, socket };
        wait_until("nbdkit to listen", Duration::from_secs(10), || {
            if let Some(status) = source.child.try_wait()? {
                bail!("nbdkit ended: {status}");
            }
            Ok(source.socket.exists().then_some(()))
        })?;
        Ok(source)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A fresh loop device with direct I/O on a sparse file. Taken away when dropped, the file too.
pub(super) struct Target {
    file: PathBuf,
    pub(super) device: PathBuf,
}

impl Target {
    pub(super) fn make(dir: &Path, size: u64) -> Result<Self> {
        let file = dir.join("target.raw");
        let made = File::create(&file).with_context(|| format!("cannot make {}", file.display()))?;
        made.set_len(size)
            .with_context(|| format!("cannot size {}", file.display()))?;
        let said = output(
            command("losetup")
                .args(["--direct-io=on", "--find", "--show"])
                .arg(&file),
        )?;
        Ok(Self {
            file,
            device: PathBuf::from(said.trim()),
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Err(error) = output(command("losetup").arg("-d").arg(&self.device)) {
            console::warn(&format!("{error:#}"));
        }
        let _ = fs::remove_file(&self.file);
    }
}
