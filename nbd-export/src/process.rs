//! Server processes that are certainly ours: found and signalled by a mark in their environment, never by bare id.

use std::{ffi::OsString, fs, io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::time::{Instant, sleep};

use crate::SourceIdentity;

/// Environment variable that names the runtime directory in every server process; children inherit it.
pub(crate) const MARK: &str = "NBD_EXPORT_RUNTIME";

/// All that a server gets of our environment beside its mark: there may be secrets in the rest, and whoever runs as it reads its own.
pub(crate) fn search_path() -> Option<(&'static str, OsString)> {
    Some(("PATH", std::env::var_os("PATH")?))
}

const POLL: Duration = Duration::from_millis(2);

/// A process of one runtime directory. Held by a descriptor, so its number can never come to mean a stranger.
#[derive(Debug, Clone)]
pub(crate) struct ServerProcess {
    pid: Pid,
    descriptor: Arc<OwnedFd>,
}

impl ServerProcess {
    /// The process, if it lives and carries the mark. The descriptor is taken before the mark is looked at again.
    pub(crate) fn find(pid: i32, mark: &str) -> Option<Self> {
        if !is_marked(pid, mark) {
            return None;
        }
        let pid = Pid::from_raw(pid)?;
        let descriptor = Arc::new(pidfd_open(pid, PidfdFlags::empty()).ok()?);
        is_marked(pid.as_raw_pid(), mark).then_some(Self { pid, descriptor })
    }

    /// All live processes that carry the mark.
    pub(crate) fn all(mark: &str) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Self::find(pid, mark))
            .collect()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Sends a signal; a process that has ended is fine.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&*self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether all its threads have ended, and with them their open files (pidfd_open(2)). A zombie has.
    pub(crate) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&*self.descriptor, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&Timespec::default())), Ok(1..))
    }

    /// Whether it ended within the time.
    pub(crate) async fn ended_within(&self, limit: Duration) -> bool {
        poll_until(limit, || self.has_ended()).await
    }

    /// Whether it has this device or file open.
    pub(crate) fn has_open(&self, identity: SourceIdentity) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else {
            return false;
        };
        entries
            .flatten()
            .any(|entry| opened(&entry.path()) == Some(identity))
    }
}

/// A process that is ending has an empty environment.
fn is_marked(pid: i32, mark: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
        environ
            .split(|&byte| byte == 0)
            .any(|entry| entry == mark.as_bytes())
    })
}

fn opened(link: &Path) -> Option<SourceIdentity> {
    SourceIdentity::of(&rustix::fs::stat(link).ok()?)
}

/// Looks again and again, at most for `limit`.
pub(crate) async fn poll_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL).await;
    }
}
