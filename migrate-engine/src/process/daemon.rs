//! A tool that runs beside us until it is stopped; its handle is its life.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use tokio::task::JoinHandle;

use super::ProcessError;
use super::capture::Tail;
use super::child::OwnedChild;
use super::command::drain;

/// A running companion. Dropping it kills it with `SIGKILL`; [`Daemon::stop`] asks first.
///
/// Only ever this child is signalled, by its own process id, and never after it was reaped.
#[derive(Debug)]
pub struct Daemon {
    program: String,
    child: OwnedChild,
    tail: Arc<Mutex<Tail>>,
    reader: JoinHandle<()>,
}

impl Daemon {
    pub(super) fn new(program: String, mut child: OwnedChild) -> Self {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let stderr = child
            .stderr
            .take()
            .expect("standard error was asked for as a pipe");
        let kept = Arc::clone(&tail);
        let reader = tokio::spawn(async move {
            // A broken pipe ends the words, not the daemon.
            let _end = drain(stderr, &kept).await;
        });
        Daemon {
            program,
            child,
            tail,
            reader,
        }
    }

    /// The process id, while the child was not reaped.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The end of what it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.tail.lock().text()
    }

    /// Whether nothing more will come to [`Daemon::stderr`]: it has ended, and its last words were read.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits for it to end by itself, and says why as an error: a companion has no business ending.
    /// Cancel-safe; on repetition gives the same answer.
    pub async fn died(&mut self) -> ProcessError {
        match self.child.wait().await {
            Ok(status) => {
                // The words were written before the end, but may still be in the pipe. A grandchild could hold the
                // pipe open for ever, so this is bounded.
                if !self.reader.is_finished() {
                    let _words = tokio::time::timeout(Duration::from_secs(1), &mut self.reader).await;
                }
                ProcessError::Failed {
                    program: self.program.clone(),
                    status,
                    stderr: self.stderr(),
                }
            }
            Err(source) => ProcessError::Follow {
                program: self.program.clone(),
                source,
            },
        }
    }

    /// Stops it: `SIGTERM`, and `SIGKILL` where it has not ended within `grace`. Returns when it is reaped.
    ///
    /// # Errors
    /// `Follow` when the kernel refuses to tell how it ended.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.terminate();
        let ended = tokio::time::timeout(grace, self.child.wait()).await;
        let status = match ended {
            Ok(status) => status,
            Err(_) => {
                tracing::warn!(
                    program = self.program,
                    ?grace,
                    "did not stop when asked to: killing it"
                );
                match self.child.start_kill() {
                    Ok(()) => self.child.wait().await,
                    Err(error) => Err(error),
                }
            }
        };
        status.map_err(|source| ProcessError::Follow {
            program: self.program.clone(),
            source,
        })
    }

    /// Asks it to end. The id is that of an unreaped child, so it cannot have gone to another process.
    fn terminate(&self) {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = rustix::process::kill_process(pid, Signal::TERM)
        {
            tracing::debug!(program = self.program, %error, "asking a child to end");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
