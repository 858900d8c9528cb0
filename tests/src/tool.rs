//! Running programs to their end, `volumectl` and `volumed` among them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::binary;

/// What came of a program.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Outcome {
    /// Runs it to its end. Blocks.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs `volumectl` against the daemon on `socket`. Blocks: from a multi-threaded runtime only.
#[must_use]
pub fn volumectl<A: AsRef<OsStr>>(socket: &Path, args: impl IntoIterator<Item = A>) -> Outcome {
    let mut command = Command::new(binary("volumectl"));
    command.env_remove("VOLUMED_URL").env_remove("VOLUMED_SOCKET");
    Outcome::of(command.arg("--socket").arg(socket).args(args))
}

/// Runs one of `volumed`'s commands that come to an end. Blocks, as [`volumectl`] does.
#[must_use]
pub fn volumed<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Outcome {
    Outcome::of(Command::new(binary("volumed")).args(args))
}

/// Runs a program that must succeed, and returns what it printed.
///
/// # Panics
/// Where it cannot be started or fails.
pub fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> String {
    let outcome = Outcome::of(Command::new(program).args(args));
    assert_eq!(outcome.code, Some(0), "{program}: {outcome:#?}");
    outcome.stdout.trim().to_owned()
}
