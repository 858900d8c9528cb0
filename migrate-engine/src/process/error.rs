//! What can go wrong with a child process.

use std::process::ExitStatus;
use std::time::Duration;

/// Why a tool gave no result. The message names the program and, where it said anything, its last words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is no such program on the search path.
    #[error("{program} is not installed: install the Debian package {package}")]
    NotInstalled {
        /// The program that was looked for.
        program: String,
        /// The Debian package that brings it.
        package: String,
    },
    /// The program is there, but could not be started.
    #[error("starting {program}")]
    Spawn {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Waiting for the program or reading from it failed.
    #[error("following {program}")]
    Follow {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The program ended with a failure.
    #[error("{program} failed ({status}){}", said(stderr))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// The program took longer than it may and was killed.
    #[error("{program} did not finish within {limit:?} and was killed{}", said(stderr))]
    TimedOut {
        /// The program.
        program: String,
        /// The bound.
        limit: Duration,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// The program wrote more than it may to standard output and was killed.
    #[error("{program} wrote more than {limit} bytes to its standard output and was killed")]
    TooMuchOutput {
        /// The program.
        program: String,
        /// The bound in bytes.
        limit: usize,
    },
}

impl ProcessError {
    /// The end of what the program wrote to standard error, where it was started and wrote anything.
    #[must_use]
    pub fn stderr(&self) -> &str {
        match self {
            ProcessError::Failed { stderr, .. } | ProcessError::TimedOut { stderr, .. } => stderr,
            _ => "",
        }
    }
}

/// `: …` with the last words of a program on one line, or nothing.
fn said(stderr: &str) -> String {
    let words: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join("; "))
    }
}
