//! The host's side of the agent: programs run, started and signalled in the guest, files read and written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::emulator::Emulator;
use super::error::MachineError;
use super::protocol::{self, AGENT_PORT, Ending, HEADER, Kind, Reply, Request};
use crate::Outcome;

/// How long a request may take where nothing else is said; emulation is some fifty times slower than the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one try to reach an agent that may not be there yet may take.
const TRY: Duration = Duration::from_millis(500);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(25);

/// Between two looks at the console and at QEMU while something is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// How long it takes at most until the end of QEMU is known.
const SETTLED: Duration = Duration::from_secs(2);

/// A guest, from one start of its machine to the next.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    emulator: Arc<Emulator>,
    agent: SocketAddr,
}

/// What the agent sent.
struct Answer {
    reply: Reply,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Guest {
    pub(super) fn of(emulator: Arc<Emulator>) -> Self {
        let agent = emulator.address_of(AGENT_PORT);
        Self {
            emulator,
            agent: agent.expect("the agent's port is always forwarded"),
        }
    }

    /// Waits for the agent of a boot that is not `former`, and returns the boot's id.
    pub(super) async fn booted(&self, former: Option<&str>, limit: Duration) -> Result<String, MachineError> {
        let look = async {
            loop {
                match tokio::time::timeout(TRY, self.converse(&Request::Identify, &[])).await {
                    Ok(Ok(Answer {
                        reply: Reply::Boot { id },
                        ..
                    })) if former != Some(id.as_str()) => return Ok(id),
                    _ => self.emulator.blame().map_or(Ok(()), Err)?,
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let found = tokio::time::timeout(limit, look).await;
        found.unwrap_or_else(|_| Err(self.timed_out("its boot", limit)))
    }

    pub(super) async fn end(&self, how: Ending) -> Result<(), MachineError> {
        let answer = self.ask(&Request::End { how }, &[], PATIENCE, "its end").await?;
        match answer.reply {
            Reply::Done => Ok(()),
            other => Err(refused("its end", other)),
        }
    }

    async fn ask(
        &self,
        request: &Request,
        input: &[u8],
        limit: Duration,
        what: &str,
    ) -> Result<Answer, MachineError> {
        let answer = tokio::select! {
            answer = tokio::time::timeout(limit, self.converse(request, input)) => answer,
            blame = self.blame() => return Err(blame),
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Err(_) => Err(self.timed_out(what, limit)),
            // A connection breaks a moment before it is known that QEMU died.
            Ok(Err(source)) => Err(tokio::time::timeout(SETTLED, self.blame())
                .await
                .unwrap_or_else(|_| MachineError::host("cannot talk to the agent")(source))),
        }
    }

    /// Ends when QEMU or the guest's kernel is to blame for whatever does not come.
    async fn blame(&self) -> MachineError {
        loop {
            if let Some(blame) = self.emulator.blame() {
                return blame;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn converse(&self, request: &Request, input: &[u8]) -> std::io::Result<Answer> {
        let mut connection = TcpStream::connect(self.agent).await?;
        connection.set_nodelay(true)?;
        let mut sent = protocol::frame(Kind::Request, &serde_json::to_vec(request)?);
        sent.extend(protocol::frame(Kind::Input, input));
        connection.write_all(&sent).await?;
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        loop {
            let mut header = [0; HEADER];
            connection.read_exact(&mut header).await?;
            let (kind, length) = protocol::announced(header)?;
            let mut content = vec![0; length];
            connection.read_exact(&mut content).await?;
            match kind {
                Kind::Output => output.extend(content),
                Kind::Complaint => complaint.extend(content),
                Kind::Reply => {
                    let reply = serde_json::from_slice(&content)?;
                    return Ok(Answer {
                        reply,
                        output,
                        complaint,
                    });
                }
                Kind::Request | Kind::Input => return Err(std::io::Error::other("the agent asks something")),
            }
        }
    }

    fn timed_out(&self, what: &str, limit: Duration) -> MachineError {
        MachineError::TimedOut {
            what: what.to_owned(),
            limit,
            console: self.emulator.console(),
        }
    }

    pub(super) fn command<S: AsRef<str>>(&self, argv: &[S]) -> GuestCommand {
        GuestCommand {
            guest: self.clone(),
            argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
            env: Vec::new(),
            input: Vec::new(),
            limit: PATIENCE,
        }
    }

    pub(super) async fn read_file(&self, path: &str) -> Result<Vec<u8>, MachineError> {
        let request = Request::Read {
            path: path.to_owned(),
        };
        let answer = self.ask(&request, &[], PATIENCE, path).await?;
        match answer.reply {
            Reply::Done => Ok(answer.output),
            other => Err(refused("reading a file", other)),
        }
    }

    pub(super) async fn write_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), MachineError> {
        let request = Request::Write {
            path: path.to_owned(),
            mode,
        };
        let answer = self.ask(&request, content, PATIENCE, path).await?;
        match answer.reply {
            Reply::Done => Ok(()),
            other => Err(refused("writing a file", other)),
        }
    }

    pub(super) async fn signal(&self, pid: u32, signal: Signal) -> Result<(), MachineError> {
        let request = Request::Signal {
            pid,
            signal: signal.as_raw(),
        };
        match self.ask(&request, &[], PATIENCE, "a signal").await?.reply {
            Reply::Done => Ok(()),
            other => Err(refused("a signal", other)),
        }
    }
}

fn refused(what: &str, reply: Reply) -> MachineError {
    let why = match reply {
        Reply::Failed { why } => why,
        other => format!("the agent answered {other:?}"),
    };
    MachineError::Refused {
        what: what.to_owned(),
        why,
    }
}

/// A command to be run in the guest.
#[derive(Debug, Clone)]
pub struct GuestCommand {
    guest: Guest,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    input: Vec<u8>,
    limit: Duration,
}

impl GuestCommand {
    /// With a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With something to read from standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// With another bound on its time than a minute.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, whatever its exit code. Dropped before, it is killed in the guest.
    ///
    /// # Errors
    /// Where the guest cannot be reached, the program not be started, or it has not ended in time.
    pub async fn run(self) -> Result<Outcome, MachineError> {
        let what = self.argv.join(" ");
        let request = Request::Run {
            argv: self.argv,
            env: self.env,
        };
        let answer = self.guest.ask(&request, &self.input, self.limit, &what).await?;
        match answer.reply {
            Reply::Exited { code, .. } => Ok(Outcome {
                code,
                stdout: String::from_utf8_lossy(&answer.output).into_owned(),
                stderr: String::from_utf8_lossy(&answer.complaint).into_owned(),
            }),
            other => Err(refused(&what, other)),
        }
    }

    /// Starts it and leaves it running; what it prints goes to the end of the file `log` in the guest.
    ///
    /// # Errors
    /// Where the guest cannot be reached or the program not be started.
    pub async fn start(self, log: &str) -> Result<GuestProcess, MachineError> {
        let what = self.argv.join(" ");
        let request = Request::Start {
            argv: self.argv,
            env: self.env,
            log: log.to_owned(),
        };
        match self.guest.ask(&request, &[], self.limit, &what).await?.reply {
            Reply::Started { pid } => Ok(GuestProcess {
                guest: self.guest,
                pid,
                log: log.to_owned(),
            }),
            other => Err(refused(&what, other)),
        }
    }
}

/// A program that was started in the guest. It runs until it ends or the guest does; dropped, it runs on.
#[derive(Debug, Clone)]
pub struct GuestProcess {
    guest: Guest,
    pid: u32,
    log: String,
}

impl GuestProcess {
    /// Its process id in the guest.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where it is gone, or the guest cannot be reached.
    pub async fn signal(&self, signal: Signal) -> Result<(), MachineError> {
        self.guest.signal(self.pid, signal).await
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// Where the guest cannot be reached, or has been started anew since.
    pub async fn is_running(&self) -> Result<bool, MachineError> {
        let request = Request::Look { pid: self.pid };
        match self
            .guest
            .ask(&request, &[], PATIENCE, "a look at a program")
            .await?
            .reply
        {
            Reply::Running => Ok(true),
            Reply::Exited { .. } => Ok(false),
            other => Err(refused("a look at a program", other)),
        }
    }

    /// What is in its log now.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn log(&self) -> Result<String, MachineError> {
        let bytes = self.guest.read_file(&self.log).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
