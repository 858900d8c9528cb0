//! nbd-server's processes: the master that listens, and the children that each serve one client.
//!
//! Facts this rests on (nbd-server 3.24, tried for real):
//! - SIGHUP appends exports and never removes or changes one (nbd-server(1)). From 3.20 to 3.24 it corrupts the heap
//!   (NetworkBlockDevice/nbd#142; earlier report of the symptom: #96): the master dies, or garbles a name, or lists
//!   an export whose every new client loses its serving process. Nothing of that is fit to serve disks, so on these
//!   versions the master is replaced instead.
//! - SIGTERM to the master ends the serving children too; SIGKILL leaves them serving to the end.
//! - A child closes its copy of the listening socket right after the fork, so a new master can listen while children
//!   of the old one serve (SO_REUSEADDR is set on both sides). A Unix socket's file stays and must be removed first.
//! - It searches a prime (Diffie-Hellman) between listening and accepting, at every start and for TLS or not: 0 to 0.7 s
//!   on an idle core, more on a busy one. Clients that connect meanwhile wait; they are not refused.
//! - It goes to the background before it binds: "address in use" is seen only by its absence.

use std::{
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::net::UnixStream,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    process::Command,
    sync::OnceCell,
    time::{Instant, sleep, timeout},
};

use super::{
    config::{NbdServerConfig, Reload},
    version,
};
use crate::{
    ExportError, ExportName, NbdAddress, SourceIdentity,
    handshake::{self, HandshakeError, Session},
    process::{MARK, ServerProcess, poll_until, search_path},
    runtime::{RuntimeDir, remove_if_there},
};

/// A starved machine may search its prime for long, as chance will have it: an emulated processor that shares its core
/// took more than a minute at times.
const START: Duration = Duration::from_secs(300);
/// A reload shows its exports within 20 ms, even with a thousand of them.
const RELOAD: Duration = Duration::from_secs(2);
/// From fork to the closing of the listening socket.
const FORKED: Duration = Duration::from_secs(3);
const END: Duration = Duration::from_secs(10);
const PID: &str = "pid";
const LOG: &str = "log";
const PROGRAM: &str = "nbd-server";

/// How a master came to know its exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakenUp {
    ByReload,
    ByNewMaster,
}

#[derive(Debug)]
pub(super) struct Master {
    config: NbdServerConfig,
    pub(super) directory: RuntimeDir,
    starts: AtomicU64,
    sound: OnceCell<bool>,
}

impl Master {
    pub(super) fn new(config: NbdServerConfig, directory: RuntimeDir) -> Self {
        Self {
            config,
            directory,
            starts: AtomicU64::new(0),
            sound: OnceCell::new(),
        }
    }

    /// How often this process has started a master.
    pub(super) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// The live master.
    pub(super) fn process(&self) -> Option<ServerProcess> {
        let pid = fs::read_to_string(self.directory.file(PID))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        ServerProcess::find(pid, &self.directory.mark())
    }

    /// Children, of this master or of earlier ones, that have the device open.
    pub(super) fn serving(&self, identity: SourceIdentity) -> Vec<ServerProcess> {
        let mut processes = ServerProcess::all(&self.directory.mark());
        processes.retain(|process| process.has_open(identity));
        processes
    }

    /// Whether the master lives and lists all these exports.
    pub(super) async fn lists(&self, expected: &[ExportName]) -> bool {
        if self.process().is_none() {
            return false;
        }
        let listed = async { Ok::<_, ExportError>(handshake::list(&self.config.dial()?).await) };
        match listed
            .await
            .unwrap_or_else(|error| Err(HandshakeError::Tls(std::io::Error::other(error))))
        {
            Ok(listed) => expected
                .iter()
                .all(|name| listed.iter().any(|other| other == name.as_str())),
            Err(error) => {
                tracing::debug!(%error, "nbd-server does not list");
                false
            }
        }
    }

    /// Takes new exports up: by a reload where that works, by a new master where the reload killed the old one.
    pub(super) async fn take_up(&self, expected: &[ExportName]) -> Result<TakenUp, ExportError> {
        let Some(process) = self.process() else {
            return self.replace(expected).await;
        };
        if !self.reloads().await {
            return self.replace(expected).await;
        }
        process
            .signal(Signal::HUP)
            .map_err(ExportError::io("reloading nbd-server"))?;
        if self.wait_listed(expected, RELOAD).await && self.opens(expected).await {
            return Ok(TakenUp::ByReload);
        }
        let alive = self.process().is_some();
        tracing::warn!(
            pid = process.pid(),
            alive,
            "nbd-server did not survive a reload, starting a new one"
        );
        self.replace(expected).await
    }

    async fn replace(&self, expected: &[ExportName]) -> Result<TakenUp, ExportError> {
        self.restart(expected).await.map(|()| TakenUp::ByNewMaster)
    }

    /// Whether a reload may be tried at all.
    async fn reloads(&self) -> bool {
        match self.config.reload {
            Reload::Signal => true,
            Reload::Replace => false,
            Reload::Auto => {
                *self
                    .sound
                    .get_or_init(|| version::has_sound_reload(&self.config.program))
                    .await
            }
        }
    }

    /// Whether a new client gets each export: a corrupted master may list what its children cannot serve.
    async fn opens(&self, expected: &[ExportName]) -> bool {
        let Ok(server) = self.config.dial() else {
            return false;
        };
        for name in expected {
            let opened = async { Session::open(&server, name).await?.close().await };
            if let Err(error) = opened.await {
                tracing::debug!(%name, %error, "export is listed but does not open");
                return false;
            }
        }
        true
    }

    async fn wait_listed(&self, expected: &[ExportName], limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.lists(expected).await {
            if self.process().is_none() || Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Replaces the master; only ends it if there is nothing to serve. Running transfers go on: their children are
    /// left alone.
    pub(super) async fn restart(&self, expected: &[ExportName]) -> Result<(), ExportError> {
        self.end_master(Signal::KILL).await?;
        if expected.is_empty() {
            return Ok(());
        }
        self.config.settle_base()?;
        self.free_address().await?;
        self.start().await?;
        if !self.wait_listed(expected, START).await {
            let reason = match self.process() {
                Some(_) => "it does not list its exports".to_owned(),
                None => format!(
                    "it ended (a bad configuration?): {}",
                    self.directory.log_tail(LOG)
                ),
            };
            return Err(self.failed(reason));
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), ExportError> {
        let pid_file = self.directory.file(PID);
        remove_if_there(&pid_file)?;
        let log = fs::File::create(self.directory.file(LOG));
        let log = log.map_err(ExportError::io("opening the log of nbd-server"))?;
        let errors = log
            .try_clone()
            .map_err(ExportError::io("opening the log of nbd-server"))?;
        let mark = self.directory.mark();
        let (_, directory) = mark.split_once('=').expect("a mark is NAME=value");
        let mut starter = Command::new(&self.config.program)
            .arg("-C")
            .arg(&self.config.base_config)
            .arg("-p")
            .arg(&pid_file)
            .env_clear()
            .envs(search_path())
            .env(MARK, directory)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(error.to_string()))?;
        let status = timeout(START, starter.wait()).await;
        let status = status.map_err(|_| self.failed("it does not go to the background".to_owned()))?;
        let status = status.map_err(ExportError::io("waiting for nbd-server"))?;
        if !status.success() {
            return Err(self.failed(format!("{status}: {}", self.directory.log_tail(LOG))));
        }
        if !poll_until(START, || self.process().is_some()).await {
            return Err(self.failed(format!("it ended at once: {}", self.directory.log_tail(LOG))));
        }
        let start = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(listen = %self.config.listen, start, "nbd-server started");
        Ok(())
    }

    /// Refuses an address that a stranger has, and removes the socket a dead master left.
    async fn free_address(&self) -> Result<(), ExportError> {
        let address = &self.config.listen;
        let in_use = || {
            Err(ExportError::AddressInUse {
                address: address.clone(),
            })
        };
        match address {
            NbdAddress::Tcp(tcp) => {
                let bind = || TcpListener::bind(tcp).map(drop).map_err(|error| error.kind());
                // A child that was just forked when the master died may not have closed its copy yet.
                let young = !ServerProcess::all(&self.directory.mark()).is_empty();
                if young {
                    poll_until(FORKED, || bind() != Err(ErrorKind::AddrInUse)).await;
                }
                match bind() {
                    Ok(()) => Ok(()),
                    Err(ErrorKind::AddrInUse) => in_use(),
                    Err(kind) => Err(ExportError::io(format!("listening on {address}"))(kind)),
                }
            }
            NbdAddress::Unix(path) if UnixStream::connect(path).is_ok() => in_use(),
            NbdAddress::Unix(path) => remove_if_there(path),
        }
    }

    async fn end_master(&self, signal: Signal) -> Result<(), ExportError> {
        let Some(process) = self.process() else {
            return Ok(());
        };
        process
            .signal(signal)
            .map_err(ExportError::io("ending nbd-server"))?;
        self.await_end(process).await
    }

    /// Ends one serving child, and with it one client's connection.
    pub(super) async fn end_child(&self, child: ServerProcess) -> Result<(), ExportError> {
        child
            .signal(Signal::KILL)
            .map_err(ExportError::io("ending a serving process of nbd-server"))?;
        self.await_end(child).await
    }

    async fn await_end(&self, process: ServerProcess) -> Result<(), ExportError> {
        match process.ended_within(END).await {
            true => Ok(()),
            false => Err(ExportError::Unresponsive {
                program: PROGRAM,
                pid: process.pid(),
            }),
        }
    }

    /// Ends the master and every child.
    pub(super) async fn end_all(&self) -> Result<(), ExportError> {
        self.end_master(Signal::TERM).await?;
        for child in ServerProcess::all(&self.directory.mark()) {
            self.end_child(child).await?;
        }
        remove_if_there(&self.directory.file(PID))?;
        if let NbdAddress::Unix(path) = &self.config.listen {
            remove_if_there(path)?;
        }
        Ok(())
    }

    fn failed(&self, reason: String) -> ExportError {
        ExportError::Start {
            program: self.config.program.clone(),
            reason,
        }
    }
}
