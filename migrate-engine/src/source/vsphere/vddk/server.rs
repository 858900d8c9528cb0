//! The nbdkit of one disk: its private folder, its password, its start and its end.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::arguments::{self, Paths};
use super::{Vddk, VddkError, VddkLogin, VddkPlace};
use crate::block::NbdUri;
use crate::block::nbd::NbdEndpoint;
use crate::model::Secret;
use crate::process::{Command, Daemon, NBDKIT, ProcessError};

/// The longest path of a Unix socket.
const LONGEST_SOCKET: usize = 107;
/// How often it is looked whether nbdkit is there.
const LOOK: Duration = Duration::from_millis(10);
/// How long nbdkit may take to notice the end of our last connection: a read that is under way ends first.
const NOTICE: Duration = Duration::from_secs(5);
/// How long it may take to end from then on: the library closes the disk and takes its leave of the host.
const GRACE: Duration = Duration::from_secs(10);
/// How long the last words of an nbdkit that died may take to reach us.
const WORDS: Duration = Duration::from_millis(300);
/// How many lines of them are told.
const LINES: usize = 4;

/// A running nbdkit. Dropped, it is asked to end, which is a task of the tracker that it was given.
#[derive(Debug)]
pub(super) struct Server {
    /// Present until the drop.
    running: Option<Running>,
    ends: TaskTracker,
    runtime: Handle,
}

#[derive(Debug)]
struct Running {
    daemon: Daemon,
    // After the daemon: the folder goes when nobody uses it.
    home: Home,
    /// Taken out of what nbdkit says.
    password: Secret,
}

/// The private folder of a server.
#[derive(Debug)]
struct Home(TempDir);

impl Server {
    /// Starts nbdkit and waits until it serves. The password's file is gone then, on every way out.
    pub(super) async fn start(
        vddk: &Vddk,
        login: &VddkLogin,
        place: &VddkPlace,
        ends: &TaskTracker,
    ) -> Result<Self, VddkError> {
        let home = Home::new(&vddk.run_dir)?;
        let password = PasswordFile::new(&home, login.credentials.password(), &vddk.run_dir)?;
        let pidfile = home.path("pid");
        let paths = Paths {
            socket: &home.socket(),
            pidfile: &pidfile,
            password: &password.0,
            end: &home.end(),
        };
        let daemon = Command::new(NBDKIT)
            .at(&vddk.settings.nbdkit)
            .args(arguments::of(&vddk.settings, login, place, &paths))
            .daemon()
            .await
            .map_err(|source| VddkError::NoNbdkit { source })?;
        let mut running = Running {
            daemon,
            home,
            password: Secret::new(login.credentials.password()),
        };
        running
            .until_ready(&pidfile, vddk.ready_within, &place.label)
            .await?;
        drop(password);
        Ok(Self {
            running: Some(running),
            ends: ends.clone(),
            runtime: Handle::current(),
        })
    }

    pub(super) fn uri(&self) -> NbdUri {
        NbdUri {
            endpoint: NbdEndpoint::Unix {
                socket: self.running().home.socket(),
            },
            export: String::new(),
            tls: None,
        }
    }

    /// The process id, while it was not reaped.
    pub(super) fn id(&self) -> Option<u32> {
        self.running().daemon.id()
    }

    /// The last words of nbdkit after something failed, without the password. Blocks for a moment where nbdkit may just have
    /// died, so that all of them are here.
    #[expect(
        clippy::disallowed_methods,
        reason = "readers have threads of their own, and wait for a child's words"
    )]
    pub(super) fn last_words(&self) -> String {
        let running = self.running();
        let began = Instant::now();
        while !running.daemon.is_silent() && began.elapsed() < WORDS {
            std::thread::sleep(LOOK);
        }
        running.words()
    }

    /// The same, for those who may not block.
    pub(super) async fn words_soon(&self) -> String {
        let running = self.running();
        let began = Instant::now();
        while !running.daemon.is_silent() && began.elapsed() < WORDS {
            tokio::time::sleep(LOOK).await;
        }
        running.words()
    }

    /// Has it end by itself once its last connection has ended and the disk of it is closed: to be called before that. Repeating it
    /// changes nothing.
    ///
    /// After `SIGTERM`, nbdkit closes no disk any more: the host would keep a session, and a lock on the disk, until it gives them up
    /// by itself. Source: `free_connection` in nbdkit's `server/connections.c`.
    pub(super) fn end_with_last_connection(&self) {
        self.running().ask();
    }

    /// Ends it where nothing was opened, and waits for that.
    pub(super) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Ends it once its connections have ended, and waits for that.
    pub(super) async fn end(mut self) {
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    fn running(&self) -> &Running {
        self.running
            .as_ref()
            .expect("it runs until it is stopped or dropped")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Where the runtime ends before the task does, the daemon is dropped with it, and so killed.
            self.ends.spawn_on(running.end(), &self.runtime);
        }
    }
}

impl Running {
    /// Waits until nbdkit listens, which it says by its pid file; until it ends, or the time is over.
    async fn until_ready(&mut self, pidfile: &Path, within: Duration, disk: &str) -> Result<(), VddkError> {
        tokio::select! {
            died = self.daemon.died() => Err(VddkError::Start {
                disk: disk.to_owned(),
                words: self.words(),
                source: end_of(died),
            }),
            ready = tokio::time::timeout(within, listens(pidfile)) => ready.map_err(|_| VddkError::NotReady {
                disk: disk.to_owned(),
                seconds: within.as_secs(),
                words: self.words(),
            }),
        }
    }

    fn words(&self) -> String {
        let all = self.daemon.stderr();
        let all = match self.password.reveal() {
            "" => all,
            password => all.replace(password, "…"),
        };
        let lines: Vec<&str> = all
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(LINES)..].join("; ")
    }

    fn ask(&self) {
        if let Err(error) = std::fs::write(self.home.end(), "") {
            tracing::warn!(%error, "cannot ask an nbdkit to close its disk");
        }
    }

    async fn end(mut self) {
        // Where its last connection had ended before it was asked, it ends by the signal, and by then has begun to close the disk.
        self.ask();
        let _ended = tokio::time::timeout(NOTICE, self.daemon.died()).await;
        self.stop().await;
    }

    async fn stop(self) {
        let Self { daemon, home, .. } = self;
        if let Err(error) = daemon.stop(GRACE).await {
            tracing::warn!(%error, "the end of an nbdkit could not be followed");
        }
        drop(home);
    }
}

impl Home {
    fn new(run_dir: &Path) -> Result<Self, VddkError> {
        let dir = tempfile::Builder::new()
            .prefix("vddk-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(run_dir)
            .map_err(failed(run_dir))?;
        let home = Self(dir);
        if home.socket().as_os_str().len() > LONGEST_SOCKET {
            return Err(VddkError::LongPath {
                run_dir: run_dir.to_owned(),
            });
        }
        Ok(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("nbd")
    }

    fn end(&self) -> PathBuf {
        self.path("end")
    }
}

/// A file with a password. Dropped, it is gone.
struct PasswordFile(PathBuf);

impl PasswordFile {
    /// nbdkit reads one line.
    fn new(home: &Home, password: &str, run_dir: &Path) -> Result<Self, VddkError> {
        if password.contains(['\n', '\0']) {
            return Err(VddkError::Password);
        }
        let file = Self(home.path("password"));
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.0);
        let written = opened.and_then(|mut open| open.write_all(password.as_bytes()));
        written.map_err(failed(run_dir))?;
        Ok(file)
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, file = %self.0.display(), "a password's file goes with its folder");
        }
    }
}

/// Tries until nbdkit has written its process id, which it does once it listens.
async fn listens(pidfile: &Path) {
    while !tokio::fs::read(pidfile).await.is_ok_and(|id| id.ends_with(b"\n")) {
        tokio::time::sleep(LOOK).await;
    }
}

/// How it ended, without its words: those are told without the password.
fn end_of(died: ProcessError) -> io::Error {
    match died {
        ProcessError::Failed { status, .. } => io::Error::other(format!("nbdkit ended ({status})")),
        ProcessError::Follow { source, .. } => source,
        other => io::Error::other(other),
    }
}

fn failed(run_dir: &Path) -> impl FnOnce(io::Error) -> VddkError {
    let run_dir = run_dir.to_owned();
    move |source| VddkError::Folder { run_dir, source }
}
