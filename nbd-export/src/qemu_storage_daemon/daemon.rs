//! The life of one qemu-storage-daemon process: found, started, replaced, ended.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    BACKEND, QemuStorageDaemonConfig,
    daemons::OWNER,
    guard::ALLOWED,
    listen::LISTENING,
    qmp::{Qmp, QmpError},
};
use crate::{
    AllowList, ExportError, ExportName, NbdAddress, NbdEndpoint, Tls,
    handshake::Dial,
    process::{MARK, ServerProcess, search_path},
    runtime::{CommandLock, RuntimeDir, remove_if_there},
};

const START: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(10);
const LOG: &str = "log";
const PID: &str = "pid";

#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) listen: NbdAddress,
    pub(super) tls: Option<Tls>,
    pub(super) directory: RuntimeDir,
    program: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    pub(super) fn new(config: QemuStorageDaemonConfig) -> Result<Self, ExportError> {
        let directory = RuntimeDir::prepare(&config.runtime_dir)?;
        let socket = directory.socket("qmp")?;
        Ok(Self {
            listen: config.listen,
            tls: config.tls,
            program: config.program,
            directory,
            socket,
        })
    }

    /// How it is dialled by us.
    pub(super) fn dial(&self) -> Result<Dial, ExportError> {
        Tls::dial(self.tls.as_ref(), &self.listen)
    }

    /// Where one of its exports is.
    pub(super) fn endpoint(&self, name: &ExportName) -> NbdEndpoint {
        NbdEndpoint::served(&self.listen, self.tls.as_ref(), name)
    }

    pub(super) async fn lock(&self) -> Result<CommandLock, ExportError> {
        self.directory.lock().await
    }

    /// The daemon's process, verified by its mark: a number in a file is never trusted alone.
    pub(super) fn process(&self) -> Option<ServerProcess> {
        let pid = fs::read_to_string(self.directory.file(PID))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        ServerProcess::find(pid, &self.directory.mark())
    }

    /// A connection to the running daemon; `None` if there is none alive.
    pub(super) async fn connect(&self) -> Result<Option<Qmp>, ExportError> {
        match Qmp::connect(&self.socket).await {
            Ok(qmp) => Ok(Some(qmp)),
            Err(error) => match self.process() {
                Some(process) => {
                    tracing::warn!(pid = process.pid(), %error, "qemu-storage-daemon does not answer");
                    Err(ExportError::Unresponsive {
                        program: BACKEND,
                        pid: process.pid(),
                    })
                }
                None => Ok(None),
            },
        }
    }

    /// A connection to a daemon that listens where we want, and lets in whom we want; started if need be. Call under the lock.
    pub(super) async fn ensure(&self, allow: Option<&AllowList>) -> Result<Qmp, ExportError> {
        if let Some(mut qmp) = self.connect().await? {
            self.listen_on(&mut qmp, allow).await?;
            return Ok(qmp);
        }
        remove_if_there(&self.socket)?;
        remove_if_there(&self.directory.file(LISTENING))?;
        let mut qmp = self.start().await?;
        if let Err(error) = self.listen_on(&mut qmp, allow).await {
            self.end(qmp).await?;
            return Err(error);
        }
        Ok(qmp)
    }

    async fn start(&self) -> Result<Qmp, ExportError> {
        let failed = |reason| ExportError::Start {
            program: self.program.clone(),
            reason,
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.file(LOG));
        let log = log.map_err(ExportError::io("opening the log of qemu-storage-daemon"))?;
        let errors = log
            .try_clone()
            .map_err(ExportError::io("opening the log of qemu-storage-daemon"))?;
        let mark = self.directory.mark();
        let (_, directory) = mark.split_once('=').expect("a mark is NAME=value");
        // setsid(1) (essential in Debian) makes the session and executes in place: the pid is the daemon's.
        let mut child = Command::new("setsid")
            .arg("--")
            .arg(&self.program)
            .args([
                "--chardev",
                &format!("socket,id=qmp,path={},server=on,wait=off", self.socket.display()),
            ])
            .args(["--monitor", "chardev=qmp"])
            .env_clear()
            .envs(search_path())
            .env(MARK, directory)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let pid = child.id().ok_or_else(|| failed("it ended at once".to_owned()))?;
        fs::write(self.directory.file(PID), pid.to_string())
            .map_err(ExportError::io("writing the pid of qemu-storage-daemon"))?;
        let deadline = Instant::now() + START;
        loop {
            if let Ok(qmp) = Qmp::connect(&self.socket).await {
                tracing::info!(pid, listen = %self.listen, "qemu-storage-daemon started");
                return Ok(qmp);
            }
            let ended = child
                .try_wait()
                .map_err(ExportError::io("waiting for qemu-storage-daemon"))?;
            if let Some(status) = ended {
                return Err(failed(format!("{status}: {}", self.directory.log_tail(LOG))));
            }
            if Instant::now() > deadline {
                child
                    .kill()
                    .await
                    .map_err(ExportError::io("ending qemu-storage-daemon"))?;
                return Err(failed(format!(
                    "no QMP within {START:?}: {}",
                    self.directory.log_tail(LOG)
                )));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks the daemon to end, and makes it. Its clients are dropped. Call under the lock.
    pub(super) async fn end(&self, mut qmp: Qmp) -> Result<(), ExportError> {
        let process = self.process();
        match qmp.execute("quit", Value::Object(serde_json::Map::new())).await {
            // It may be gone before it answers.
            Ok(_) | Err(QmpError::Io(_)) => {}
            Err(error) => tracing::warn!(%error, "qemu-storage-daemon did not take quit"),
        }
        if let Some(process) = process {
            if !process.ended_within(END).await {
                return self.kill().await;
            }
            tracing::info!(pid = process.pid(), "qemu-storage-daemon ended");
        }
        self.forget()
    }

    /// Ends a daemon that does not answer. Call under the lock.
    pub(super) async fn kill(&self) -> Result<(), ExportError> {
        if let Some(process) = self.process() {
            tracing::warn!(pid = process.pid(), "killing qemu-storage-daemon");
            process
                .signal(Signal::KILL)
                .map_err(ExportError::io("killing qemu-storage-daemon"))?;
            if !process.ended_within(END).await {
                return Err(ExportError::Unresponsive {
                    program: BACKEND,
                    pid: process.pid(),
                });
            }
        }
        self.forget()
    }

    /// Removes what the ended daemon left in the file system.
    fn forget(&self) -> Result<(), ExportError> {
        for name in [PID, LISTENING, ALLOWED, OWNER] {
            remove_if_there(&self.directory.file(name))?;
        }
        remove_if_there(&self.socket)?;
        if let NbdAddress::Unix(path) = &self.listen {
            remove_if_there(path)?;
        }
        Ok(())
    }
}
