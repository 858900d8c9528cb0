//! The demo's own daemon, and the programs that talk to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{check, command, output};
use crate::run::Run;
use crate::wait::wait_until;
use crate::{console, workspace};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
const LOG_TAIL: usize = 40;

/// A running daemon on the embedded provider. Dropped without [`Daemon::stop`], it is killed.
pub(super) struct Daemon<'r> {
    run: &'r Run,
    programs: PathBuf,
    child: Child,
}

impl<'r> Daemon<'r> {
    /// Starts it and waits until it says that it is ready.
    pub(super) fn start(run: &'r Run) -> Result<Self> {
        let programs = workspace::target_dir()?.join("debug");
        let dir = run.dir();
        let log = File::create(dir.join("volumed.log")).context("cannot make the daemon's log")?;
        let mut command = run.command(programs.join("volumed"));
        command.args(["serve", "--provider", "local", "--log-format", "text"]);
        command.arg("--local-root").arg(dir.join("cloud"));
        command.arg("--database").arg(dir.join("volumed.db"));
        command.arg("--socket").arg(dir.join("volumed.sock"));
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start volumed")?;
        let mut daemon = Self { run, programs, child };
        daemon.await_ready()?;
        Ok(daemon)
    }

    fn await_ready(&mut self) -> Result<()> {
        wait_until("the daemon to be ready", READY_WITHIN, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("volumed ended while starting: {status}");
            }
            Ok(output(self.volumectl().arg("status")).is_ok().then_some(()))
        })
    }

    /// `volumectl`, pointed at this daemon.
    pub(super) fn volumectl(&self) -> Command {
        let mut command = self.run.command(self.programs.join("volumectl"));
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Runs a `volumectl` command line and shows it with its output.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<()> {
        console::say(&format!("$ volumectl {}", arguments.join(" ")));
        let text = output(self.volumectl().args(arguments))?;
        console::quote(&text);
        Ok(())
    }

    /// `migrate-engine copy`, with its report written to `report`.
    pub(super) fn copy(&self, source: &Path, report: &Path, options: &[&str]) -> Result<()> {
        let mut command = self.run.command(self.programs.join("migrate-engine"));
        command
            .arg("copy")
            .arg(source)
            .arg("--volumed-socket")
            .arg(self.socket());
        command
            .args(["--buffer", "64MiB", "--keep-attached"])
            .arg("--json-report")
            .arg(report);
        command
            .arg("--database")
            .arg(self.run.dir().join("engine.db"))
            .arg("--runtime-dir")
            .arg(self.run.dir().join("nbd"))
            .args(options);
        console::say(&format!("$ {}", crate::command::shown(&command)));
        check(&mut command)
    }

    fn socket(&self) -> PathBuf {
        self.run.dir().join("volumed.sock")
    }

    /// Asks it to end, as a service manager does, and waits for that.
    pub(super) fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.child.id().to_string();
        output(command("sh").args(["-c", "kill -s TERM \"$1\"", "kill", &pid]))?;
        wait_until("the daemon to stop", STOPPED_WITHIN, || {
            Ok(self.child.try_wait()?)
        })
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // After a clean stop there is no process any more, and both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shows the end of the daemon's log, for who has to find out what went wrong.
pub(super) fn show_log(dir: &Path) {
    let Ok(text) = fs::read_to_string(dir.join("volumed.log")) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    console::say("the end of the daemon's log:");
    console::quote(&lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"));
}
