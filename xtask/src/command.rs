//! Child processes: found on a path that includes the administrator's directories, failing with what they said.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::console;

/// Where Debian keeps tools like losetup; `su` leaves these out of the path.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The search path for programs: the caller's own, then the administrator's directories.
pub(crate) fn search_path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&own).collect();
    for admin in ADMIN_DIRS.map(PathBuf::from) {
        if !dirs.contains(&admin) {
            dirs.push(admin);
        }
    }
    env::join_paths(dirs).unwrap_or(own)
}

/// A command that finds programs on [`search_path`], and whose children do too.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let found = if program.components().count() == 1 {
        find(program)
    } else {
        None
    };
    let mut command = Command::new(found.as_deref().unwrap_or(program));
    command.env("PATH", search_path());
    command
}

/// The full path of a program, if it is installed.
pub(crate) fn find(program: impl AsRef<Path>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&search_path())
        .map(|dir| dir.join(program.as_ref()))
        .find(is_program)
}

/// Runs to the end with our own stdin, stdout and stderr.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))
}

/// Like [`status`]; a failure of the program is an error.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns standard output; the error of a failed program carries what it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        bail!(
            "{} failed: {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, passes standard output on line by line, and returns it as well.
pub(crate) fn tee(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let mut text = String::new();
    let stdout = child.stdout.take().expect("stdout was piped just above");
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("cannot read from {}", shown(command)))?;
        let line = String::from_utf8_lossy(&line);
        console::say(&line);
        text.push_str(&line);
        text.push('\n');
    }
    Ok((child.wait()?, text))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program();
    let program = Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy()
        .into_owned();
    command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .fold(program, |line, arg| line + " " + &arg)
}
