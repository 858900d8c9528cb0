//! What ended a run: its exit code, and its error, cause and hint on standard error.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::client::ClientError;
use crate::types::ErrorCode;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const UNKNOWN: u8 = 4;
const NOT_READY: u8 = 5;

/// Why a run did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The daemon, or the way to it.
    Client(ClientError),
    /// What was asked makes no sense, or cannot be asked this way.
    Usage { error: String, hint: Option<String> },
    /// What was named is not there, or is not one.
    Selection { error: String, hint: Option<String> },
    /// The person said no.
    Declined,
    /// The daemon is there but takes no work; what it said is printed already.
    NotReady,
    /// An examination found something that will not work; it is printed already.
    Unwell,
    /// The terminal, a file, the pipe.
    Io(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    /// Says it on standard error; the code to exit with.
    pub(super) fn report(&self) -> ExitCode {
        // Whoever reads our output has read enough.
        if matches!(self, Self::Io(e) if e.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        // Nothing is left to be done when standard error, too, is closed.
        let _ = self.write(&mut io::stderr().lock());
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Client(error) => client_code(error),
            Self::Usage { .. } => USAGE,
            Self::NotReady => NOT_READY,
            Self::Selection { .. } | Self::Declined | Self::Unwell | Self::Io(_) => FAILED,
        }
    }

    fn write(&self, err: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Client(error) => write_client(err, error),
            Self::Usage { error, hint } | Self::Selection { error, hint } => {
                writeln!(err, "error: {error}")?;
                write_hint(err, hint.as_deref())
            }
            Self::Declined => writeln!(err, "error: not confirmed, nothing was done"),
            Self::NotReady => writeln!(err, "error: the daemon is not ready"),
            Self::Unwell => writeln!(err, "error: something will not work"),
            Self::Io(error) => writeln!(err, "error: {error}"),
        }
    }
}

fn client_code(error: &ClientError) -> u8 {
    match error {
        _ if error.outcome_unknown() => UNKNOWN,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::AnswerLost { .. } => {
            UNREACHABLE
        }
        ClientError::BadAddress { .. } => USAGE,
        ClientError::Problem(problem) if problem.code == ErrorCode::NotReady => NOT_READY,
        _ => FAILED,
    }
}

fn write_client(err: &mut impl Write, error: &ClientError) -> io::Result<()> {
    writeln!(err, "error: {error}")?;
    let mut source = error.source();
    while let Some(cause) = source {
        writeln!(err, "cause: {cause}")?;
        source = cause.source();
    }
    if let ClientError::WaitTimeout { last: Some(last), .. } = error
        && let Some(waits_for) = &last.error
    {
        writeln!(err, "cause: {waits_for}")?;
    }
    if let ClientError::Problem(problem) = error
        && let Some(operation) = problem.operation_id
    {
        writeln!(err, "operation: {operation}")?;
    }
    write_hint(err, error.hint().as_deref())?;
    match error.request_id() {
        Some(id) => writeln!(err, "request id: {id}"),
        None => Ok(()),
    }
}

fn write_hint(err: &mut impl Write, hint: Option<&str>) -> io::Result<()> {
    match hint {
        Some(hint) => writeln!(err, "hint: {hint}"),
        None => Ok(()),
    }
}
