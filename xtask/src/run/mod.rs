//! A run: a private directory, a mark on every process started in it, and the promise that nothing of it stays.
//!
//! Whoever ends the run, and be it SIGKILL, a second process (the *sweeper*) sees its standard input close and removes
//! what is left: marked processes, mounts and loop devices on files of the run's directory, the directory itself.
//! Only what provably belongs to the run is ever touched: other people use loop devices too.

mod leak;
mod proc;
mod snapshot;
mod sweep;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::root::{is_root, ourselves_as_root};
use crate::wait::wait_until;
use crate::{console, workspace};
pub(crate) use leak::Leak;
use snapshot::Snapshot;

/// The environment variable that marks every process of a run; its value is the run's directory.
const MARK: &str = "XTASK_RUN";

/// How long processes, mounts and loop devices may take to go by themselves after the work ended.
const GRACE: Duration = Duration::from_secs(5);

/// A run in progress. Dropping it removes everything that is left of it.
pub(crate) struct Run {
    dir: PathBuf,
    before: Snapshot,
    sweeper: Option<Child>,
}

impl Run {
    /// Makes the directory, remembers what the machine has now, and starts the sweeper.
    pub(crate) fn start() -> Result<Self> {
        let dir = make_dir()?;
        fs::create_dir(dir.join("tmp"))
            .with_context(|| format!("cannot make a folder in {}", dir.display()))?;
        let sweeper = ourselves_as_root()
            .arg("sweep")
            .arg(&dir)
            .process_group(0) // Ctrl-C on the terminal is for the work, not for who cleans up after it
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the sweeper")?;
        let mut run = Self {
            dir,
            before: Snapshot::default(),
            sweeper: Some(sweeper),
        };
        run.before = run.snapshot()?;
        Ok(run)
    }

    /// The run's directory. Short, since Unix sockets live in it and their paths hold 107 bytes.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where processes of the run put temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Marks a command, and so all its descendants, as belonging to this run.
    pub(crate) fn mark<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(MARK, &self.dir).env("TMPDIR", self.temp_dir())
    }

    /// The same as arguments of `env`, for where sudo drops the environment.
    pub(crate) fn mark_as_arguments(&self) -> String {
        format!(
            "{MARK}={} TMPDIR={}",
            self.dir.display(),
            self.temp_dir().display()
        )
    }

    /// A marked command that finds programs as [`command`] does.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = command(program);
        self.mark(&mut command);
        command
    }

    /// What is there now that was not at the start, after a grace period in which things may go by themselves.
    pub(crate) fn leaks(&self) -> Result<Vec<Leak>> {
        let mut found = Vec::new();
        let clean = wait_until("the machine to be as it was", GRACE, || {
            found = leak::between(&self.before, &self.snapshot()?, &self.dir);
            Ok(found.is_empty().then_some(()))
        });
        match clean {
            Ok(()) => Ok(Vec::new()),
            Err(error) if found.is_empty() => Err(error),
            Err(_) => Ok(found),
        }
    }

    fn snapshot(&self) -> Result<Snapshot> {
        if is_root() {
            return Snapshot::take(&self.dir);
        }
        let text = output(ourselves_as_root().arg("snapshot").arg(&self.dir))?;
        serde_json::from_str(&text).context("cannot read the snapshot taken as root")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut sweeper) = self.sweeper.take() {
            drop(sweeper.stdin.take());
            if let Err(error) = sweeper.wait() {
                console::warn(&format!(
                    "cannot wait for the sweeper of {}: {error}",
                    self.dir.display()
                ));
            }
        }
    }
}

/// Says what was left behind. True when that makes the run a failure: what is surely ours always does;
/// what merely appeared meanwhile does in CI, where nobody else is at work.
pub(crate) fn report_leaks(leaks: &[Leak]) -> bool {
    for leak in leaks {
        let doubt = if leak.is_ours {
            ""
        } else {
            " (appeared meanwhile, perhaps not ours)"
        };
        console::say(&format!("LEFT BEHIND: {}{doubt}", leak.what));
    }
    leaks.iter().any(|leak| leak.is_ours || workspace::in_ci())
}

/// The hidden command `snapshot`: takes one and prints it as JSON.
pub(crate) fn print_snapshot(run_dir: &Path) -> Result<ExitCode> {
    let snapshot = Snapshot::take(run_dir)?;
    console::say(&serde_json::to_string(&snapshot)?);
    Ok(ExitCode::SUCCESS)
}

/// The hidden command `sweep`: waits until standard input closes, then removes what the run left.
pub(crate) fn sweep_after_end(run_dir: &Path) -> Result<ExitCode> {
    io::copy(&mut io::stdin().lock(), &mut io::sink()).context("cannot wait for the end of the run")?;
    sweep::sweep(run_dir)?;
    Ok(ExitCode::SUCCESS)
}

fn make_dir() -> Result<PathBuf> {
    let base = env::temp_dir()
        .canonicalize()
        .context("cannot find the directory for temporary files")?;
    let pid = std::process::id();
    for number in 0..100 {
        let dir = base.join(format!("vx-{pid}-{number}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", dir.display())),
        }
    }
    anyhow::bail!("cannot make a directory of our own in {}", base.display())
}

#[cfg(test)]
mod tests;
