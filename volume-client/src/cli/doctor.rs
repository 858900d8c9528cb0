//! `volumectl doctor`: asks the daemon to examine itself, or has `volumed doctor` do it where no daemon answers.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use super::Session;
use super::failure::Failure;
use super::output::Format;
use crate::client::ClientError;

/// The daemon's program.
const VOLUMED: &str = "volumed";

impl Session {
    pub(super) async fn doctor(&self) -> Result<(), Failure> {
        let report = match self.client.doctor().await {
            Ok(report) => report,
            Err(error) if is_silence(&error) => return self.examine_without(error),
            Err(error) => return Err(error.into()),
        };
        self.out.show(&report, ToString::to_string)?;
        match report.has_failures() {
            true => Err(Failure::Unwell),
            false => Ok(()),
        }
    }

    /// Nobody answers, which is a failure in any case; the machine is examined all the same, for the reason may be there.
    fn examine_without(&self, silence: ClientError) -> Result<(), Failure> {
        let program = beside_us().unwrap_or_else(|| VOLUMED.into());
        let mut err = io::stderr().lock();
        writeln!(
            err,
            "{silence}; what `{} doctor` finds without it:",
            program.display()
        )?;
        drop(err);
        let mut command = Command::new(&program);
        command.arg("doctor");
        if self.out.format() == Format::Json {
            command.arg("--json");
        }
        match command.status() {
            Ok(status) if is_judgement(status) && !status.success() => Err(Failure::Unwell),
            Ok(status) if is_judgement(status) => Err(silence.into()),
            Ok(status) => {
                writeln!(io::stderr(), "`{} doctor` ended with {status}", program.display())?;
                Err(silence.into())
            }
            Err(error) => {
                writeln!(io::stderr(), "cannot run `{}`: {error}", program.display())?;
                Err(silence.into())
            }
        }
    }
}

/// Whether no daemon is there, or one that says nothing.
fn is_silence(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::AnswerLost { .. }
    )
}

/// Whether the program has examined: it then ends with 0 or 1.
fn is_judgement(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 1))
}

/// The daemon's program where ours is, which is of our version.
fn beside_us() -> Option<PathBuf> {
    let ours = std::env::current_exe().ok()?;
    let beside = ours.with_file_name(VOLUMED);
    beside.is_file().then_some(beside)
}
