//! A tool with its arguments and bounds, run to its end or kept as a [`Daemon`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::capture::{Captured, Tail, head};
use super::child::OwnedChild;
use super::{Daemon, ProcessError, spawn};

/// A program of the system and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program, looked up on the search path.
    pub program: &'static str,
    /// The Debian package to install where it is missing.
    pub package: &'static str,
}

/// What the kernel lets a child use. `None` leaves our own limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Virtual memory in bytes (`RLIMIT_AS`).
    pub address_space: Option<u64>,
    /// Processor time in seconds (`RLIMIT_CPU`).
    pub cpu_seconds: Option<u64>,
}

/// What a tool left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

/// One call of a tool.
#[derive(Debug, Clone)]
pub struct Command {
    tool: Tool,
    /// What is started in the tool's place, where that was named.
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    limits: Limits,
    timeout: Duration,
    stdout_limit: usize,
}

impl Command {
    /// A call without arguments, bounded to 30 seconds and 1 MiB of output.
    #[must_use]
    pub fn new(tool: Tool) -> Self {
        Command {
            tool,
            program: None,
            arguments: Vec::new(),
            limits: Limits::default(),
            timeout: Duration::from_secs(30),
            stdout_limit: 1 << 20,
        }
    }

    /// Starts `program` in the place of the tool's: a path, or a name to be looked up on the search path.
    #[must_use]
    pub fn at(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Adds one argument, passed on byte for byte.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments in order.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// What the child may use of the machine.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long [`Command::output`] may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes of standard output [`Command::output`] accepts.
    #[must_use]
    pub fn stdout_limit(mut self, bytes: usize) -> Self {
        self.stdout_limit = bytes;
        self
    }

    /// Runs the tool to its end; a failure of the tool is an error.
    ///
    /// # Errors
    /// Any [`ProcessError`].
    pub async fn output(&self) -> Result<Output, ProcessError> {
        let output = self.output_of_any_status().await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ProcessError::Failed {
            program: self.program(),
            status: output.status,
            stderr: output.stderr,
        })
    }

    /// Runs the tool to its end, however it ends: for tools whose status is an answer.
    ///
    /// # Errors
    /// Any [`ProcessError`] but `Failed`. The child is dead by then, or dies at once.
    pub async fn output_of_any_status(&self) -> Result<Output, ProcessError> {
        let mut child = self.spawn(Stdio::piped()).await?;
        let tail = Arc::new(Mutex::new(Tail::default()));
        let told = self.follow(&mut child, &tail);
        match tokio::time::timeout(self.timeout, told).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.kill(&mut child).await;
                let stderr = tail.lock().text();
                Err(ProcessError::TimedOut {
                    program: self.program(),
                    limit: self.timeout,
                    stderr,
                })
            }
        }
    }

    /// Starts the tool as a companion that runs until it is stopped or dropped. The time-out does not apply.
    ///
    /// # Errors
    /// `NotInstalled` or `Spawn`.
    pub async fn daemon(&self) -> Result<Daemon, ProcessError> {
        let child = self.spawn(Stdio::null()).await?;
        Ok(Daemon::new(self.program(), child))
    }

    async fn follow(&self, child: &mut OwnedChild, tail: &Mutex<Tail>) -> Result<Output, ProcessError> {
        let stdout = child
            .stdout
            .take()
            .expect("standard output was asked for as a pipe");
        let stderr = child
            .stderr
            .take()
            .expect("standard error was asked for as a pipe");
        let failed = |source| ProcessError::Follow {
            program: self.program(),
            source,
        };
        let both = async { tokio::try_join!(self.read_stdout(stdout), self.read_stderr(stderr, tail)) };
        let stdout = match both.await {
            Ok((stdout, ())) => stdout,
            Err(error) => {
                self.kill(child).await;
                return Err(error);
            }
        };
        let status = child.wait().await.map_err(failed)?;
        let stderr = tail.lock().text();
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    async fn read_stdout(&self, from: impl AsyncRead + Unpin) -> Result<Vec<u8>, ProcessError> {
        let program = self.program();
        match head(from, self.stdout_limit).await {
            Ok(Captured::All(bytes)) => Ok(bytes),
            Ok(Captured::TooMuch) => Err(ProcessError::TooMuchOutput {
                program,
                limit: self.stdout_limit,
            }),
            Err(source) => Err(ProcessError::Follow { program, source }),
        }
    }

    async fn read_stderr(
        &self,
        from: impl AsyncRead + Unpin,
        tail: &Mutex<Tail>,
    ) -> Result<(), ProcessError> {
        drain(from, tail).await.map_err(|source| ProcessError::Follow {
            program: self.program(),
            source,
        })
    }

    /// Kills and reaps. A child that is gone already is what we want.
    async fn kill(&self, child: &mut OwnedChild) {
        if let Err(error) = child.kill().await {
            tracing::debug!(program = self.program(), %error, "killing a child that would not be killed");
        }
    }

    async fn spawn(&self, stdout: Stdio) -> Result<OwnedChild, ProcessError> {
        let program = self.program.as_deref();
        let program = program.unwrap_or(Path::new(self.tool.program));
        let mut command = tokio::process::Command::new(program);
        command.args(&self.arguments).env_clear().env("LC_ALL", "C");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        tracing::debug!(program = %program.display(), arguments = ?self.arguments, "starting a tool");
        spawn::spawn(command, self.limits)
            .await
            .map_err(|source| self.spawn_error(source))
    }

    fn spawn_error(&self, source: io::Error) -> ProcessError {
        let program = self.program();
        match source.kind() {
            io::ErrorKind::NotFound => ProcessError::NotInstalled {
                program,
                package: self.tool.package.to_owned(),
            },
            _ => ProcessError::Spawn { program, source },
        }
    }

    fn program(&self) -> String {
        let program = self.program.as_deref();
        program.map_or_else(|| self.tool.program.to_owned(), |path| path.display().to_string())
    }
}

/// Reads a stream to its end and keeps the tail of it.
pub(super) async fn drain(mut from: impl AsyncRead + Unpin, tail: &Mutex<Tail>) -> io::Result<()> {
    let mut buffer = [0_u8; 4096];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        tail.lock().push(&buffer[..read]);
    }
}
