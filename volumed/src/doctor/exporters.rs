//! Which NBD servers there are to publish volumes with, and whether they are of a version that is known to fail.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::model::Check;

const NBD_SERVER: &str = "nbd-server";
const STORAGE_DAEMON: &str = "qemu-storage-daemon";
/// How long a program may take to say its version.
const ANSWER: Duration = Duration::from_secs(5);

/// What a program says of its version; `None` where it is not installed.
type Said = Option<Result<String, String>>;

/// Asks both servers; either is enough.
pub(super) async fn exporters() -> Vec<Check> {
    let (nbd_server, storage_daemon) = tokio::join!(version(NBD_SERVER), version(STORAGE_DAEMON));
    judge(nbd_server, storage_daemon)
}

async fn version(program: &str) -> Said {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    match timeout(ANSWER, command.output()).await {
        Ok(Ok(output)) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let first = text.lines().find(|line| !line.trim().is_empty());
            Some(
                first
                    .map(|line| line.trim().to_owned())
                    .ok_or_else(|| "says nothing".to_owned()),
            )
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(Err(error)) => Some(Err(error.to_string())),
        Err(_) => Some(Err(format!("does not answer within {} s", ANSWER.as_secs()))),
    }
}

fn judge(nbd_server: Said, storage_daemon: Said) -> Vec<Check> {
    const NAME: &str = "NBD servers";
    if nbd_server.is_none() && storage_daemon.is_none() {
        let seen =
            format!("neither {STORAGE_DAEMON} nor {NBD_SERVER} is installed; volumes cannot be published");
        let advice = "install qemu-system-common, qemu-utils or nbd-server, if volumes are to be published";
        return vec![Check::warning(NAME, seen, advice)];
    }
    let mut checks = Vec::new();
    checks.extend(nbd_server.map(judge_nbd_server));
    checks.extend(storage_daemon.map(|said| match said {
        Ok(version) => Check::passed(STORAGE_DAEMON, version),
        Err(why) => Check::warning(STORAGE_DAEMON, why, "reinstall it, or publish with nbd-server"),
    }));
    checks
}

/// `docs/adr/0005-nbd-server-is-restarted.md` says what is wrong with which.
fn judge_nbd_server(said: Result<String, String>) -> Check {
    let version = match said {
        Ok(version) => version,
        Err(why) => {
            return Check::warning(
                NBD_SERVER,
                why,
                "reinstall it, or publish with qemu-storage-daemon",
            );
        }
    };
    match number(&version) {
        Some(number) if ((3, 20)..=(3, 24)).contains(&number) => Check::warning(
            NBD_SERVER,
            format!("{version}; 3.20 to 3.24 corrupt their memory when they reload"),
            "nothing, if only volumed's programs change its exports (they replace it instead); else use 3.25 or newer, \
             or qemu-storage-daemon",
        ),
        Some(_) => Check::passed(NBD_SERVER, version),
        None => Check::warning(
            NBD_SERVER,
            format!("its version cannot be told: {version}"),
            "is it Debian's?",
        ),
    }
}

fn number(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("version ")?.1.split_whitespace().next()?;
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus::{self, Passed, Warning};

    fn statuses(nbd_server: Said, storage_daemon: Said) -> Vec<(String, CheckStatus)> {
        let checks = judge(nbd_server, storage_daemon).into_iter();
        checks.map(|check| (check.name, check.status)).collect()
    }

    #[test]
    fn versions_that_die_when_they_reload_are_a_warning() {
        for (version, status) in [
            ("3.19", Passed),
            ("3.20", Warning),
            ("3.24", Warning),
            ("3.25", Passed),
            ("3.26.1", Passed),
            ("new", Warning),
        ] {
            let said = Some(Ok(format!("This is nbd-server version {version}")));
            assert_eq!(
                statuses(said, None),
                [(NBD_SERVER.to_owned(), status)],
                "{version}"
            );
        }
    }

    #[test]
    fn one_server_is_enough_and_none_is_a_warning() {
        let said = || Some(Ok("qemu-storage-daemon version 7.2.22".to_owned()));
        assert_eq!(statuses(None, said()), [(STORAGE_DAEMON.to_owned(), Passed)]);
        assert_eq!(statuses(None, None), [("NBD servers".to_owned(), Warning)]);
        let silent = Some(Err("says nothing".to_owned()));
        let both = [
            (NBD_SERVER.to_owned(), Warning),
            (STORAGE_DAEMON.to_owned(), Passed),
        ];
        assert_eq!(statuses(silent, said()), both);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_not_installed() {
        assert_eq!(version("no-such-program-of-anybody").await, None);
        let said = version("uname").await.unwrap().unwrap();
        assert!(said.contains("uname"), "{said}");
    }
}
