//! A shell in a place and a network of its own, in which a dialogue is held. Dropped, nothing of it is left.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use whole_system_tests::{binary, detach_within};

use super::PLACE;

/// What ends the output of a command.
const END: &str = "-- end of the answer --";
/// How long a command may take before the shell ends it all.
const PATIENCE_SECONDS: &str = "120";

/// A shell.
#[derive(Debug)]
pub(super) struct Session {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    dir: TempDir,
}

impl Session {
    pub(super) fn begin() -> Self {
        let dir = tempfile::Builder::new().prefix("docs-").tempdir().unwrap();
        let programs = binary("volumed");
        let programs = programs.parent().expect("a program lies in a folder").display();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE_SECONDS, "unshare", "--net", "bash"]);
        command
            .env_clear()
            .env(
                "PATH",
                format!("{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            )
            .env("HOME", dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("COLUMNS", "400")
            .current_dir(dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut shell = command.spawn().expect("bash and unshare are there");
        let input = shell.stdin.take();
        let output = BufReader::new(shell.stdout.take().expect("it was piped"));
        let mut session = Self {
            shell,
            input,
            output,
            dir,
        };
        let said = session.say("ip link set lo up");
        assert!(said.is_empty(), "the loopback: {said:?}");
        session
    }

    /// Runs a command; what it printed, on both ways, by lines.
    pub(super) fn say(&mut self, command: &str) -> Vec<String> {
        let place = self
            .dir
            .path()
            .to_str()
            .expect("temporary folders are of plain names")
            .to_owned();
        let command = command.replace(PLACE, &place);
        let input = self.input.as_mut().expect("the session has not ended");
        writeln!(input, "{{ {command}\n}} 2>&1 < /dev/null; echo; echo '{END}'").expect("the shell listens");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("the shell talks");
            assert!(
                read > 0,
                "`{command}` took the shell with it, or lasted too long: {lines:#?}"
            );
            let line = line.trim_end_matches('\n');
            if line == END {
                break;
            }
            lines.push(line.replace(&place, PLACE));
        }
        // The line that was ended in case the command had not.
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        lines
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let group = Pid::from_child(&self.shell);
        // What the dialogue ended by itself is gone by now.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.shell.wait();
        detach_within(self.dir.path());
    }
}
