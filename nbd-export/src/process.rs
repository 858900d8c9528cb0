//! Server processes that are certainly ours: found and signalled by a mark in their environment, never by bare id.

use std::{fs, io, path::Path, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::SourceIdentity;

/// Environment variable that names the runtime directory in every server process; children inherit it.
pub(crate) const MARK: &str = "NBD_EXPORT_RUNTIME";
const POLL: Duration = Duration::from_millis(2);

/// A live process of one runtime directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerProcess {
    pid: Pid,
    mark: String,
}

impl ServerProcess {
    /// The process, if it lives and carries the mark.
    pub(crate) fn find(pid: i32, mark: &str) -> Option<Self> {
        let process = Self {
            pid: Pid::from_raw(pid)?,
            mark: mark.to_owned(),
        };
        process.is_alive().then_some(process)
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

    /// Neither ended, nor a zombie, nor another process that got the number.
    pub(crate) fn is_alive(&self) -> bool {
        let proc = format!("/proc/{}", self.pid());
        // A zombie has an empty environment.
        fs::read(format!("{proc}/environ")).is_ok_and(|environ| {
            environ
                .split(|&byte| byte == 0)
                .any(|entry| entry == self.mark.as_bytes())
        })
    }

    /// Sends a signal; a process that has ended is fine. The descriptor is taken before the mark is checked, so the
    /// signal cannot reach a stranger that got the number in between.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let descriptor = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !self.is_alive() {
            return Ok(());
        }
        match pidfd_send_signal(descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it ended within the time.
    pub(crate) async fn ended_within(&self, limit: Duration) -> bool {
        poll_until(limit, || !self.is_alive()).await
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
