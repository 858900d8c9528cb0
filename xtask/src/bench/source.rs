//! An image served over NBD by one of the servers that people use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cases::Serving;
use crate::command::{command, output};
use crate::run::Run;
use crate::wait::wait_until;

/// An image that is served read-only on a Unix socket of the run. The server is ended when this is dropped.
pub(super) struct Source {
    process: Process,
    socket: PathBuf,
    export: &'static str,
}

enum Process {
    Child(Child),
    /// It put itself into the background.
    Daemon(String),
}

impl Source {
    pub(super) fn serve(run: &Run, server: Serving, image: &Path) -> Result<Self> {
        Self::serve_in(run, run.dir(), server, image)
    }

    /// The same, with the server's own files in a folder of the run.
    pub(super) fn serve_in(run: &Run, folder: &Path, server: Serving, image: &Path) -> Result<Self> {
        let socket = folder.join("source.sock");
        let mut source = match server {
            Serving::Nbdkit(before, after) => {
                let mut nbdkit = run.command("nbdkit");
                nbdkit.args(["-f", "-r", "-U"]).arg(&socket).args(before);
                nbdkit.arg("file").arg(image).args(after);
                let child = nbdkit.spawn().context("cannot start nbdkit")?;
                Self::of(Process::Child(child), socket, "")
            }
            Serving::QemuNbd => {
                let mut qemu = run.command("qemu-nbd");
                qemu.args("-t -r -f raw -e 8 -k".split(' '))
                    .arg(&socket)
                    .arg(image);
                let child = qemu.spawn().context("cannot start qemu-nbd")?;
                Self::of(Process::Child(child), socket, "")
            }
            Serving::NbdServer => {
                let daemon = nbd_server(run, folder, &socket, image)?;
                Self::of(Process::Daemon(daemon), socket, "disk")
            }
        };
        wait_until("the server to listen", Duration::from_secs(10), || {
            if let Process::Child(child) = &mut source.process
                && let Some(status) = child.try_wait()?
            {
                bail!("the server ended: {status}");
            }
            Ok(source.socket.exists().then_some(()))
        })?;
        Ok(source)
    }

    fn of(process: Process, socket: PathBuf, export: &'static str) -> Self {
        Self {
            process,
            socket,
            export,
        }
    }

    pub(super) fn uri(&self) -> String {
        format!("nbd+unix:///{}?socket={}", self.export, self.socket.display())
    }
}

/// Starts Debian's nbd-server and returns its process id. It never stays in the foreground with several clients.
fn nbd_server(run: &Run, folder: &Path, socket: &Path, image: &Path) -> Result<String> {
    let (config, pid) = (folder.join("nbd-server.conf"), folder.join("nbd-server.pid"));
    let text = format!(
        "[generic]\nunixsock = {}\n[disk]\nexportname = {}\nreadonly = true\n",
        socket.display(),
        image.display()
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    output(
        run.command("nbd-server")
            .arg("-C")
            .arg(&config)
            .arg("-p")
            .arg(&pid),
    )?;
    let mut id = String::new();
    wait_until("nbd-server's process id", Duration::from_secs(10), || {
        id = fs::read_to_string(&pid).unwrap_or_default().trim().to_owned();
        Ok((!id.is_empty()).then_some(()))
    })?;
    Ok(id)
}

impl Drop for Source {
    fn drop(&mut self) {
        match &mut self.process {
            Process::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            // Its children end with it where it is asked to; what is left the sweeper finds.
            Process::Daemon(id) => {
                let _ = output(command("kill").args(["-TERM", id.as_str()]));
            }
        }
        let _ = fs::remove_file(&self.socket);
    }
}
