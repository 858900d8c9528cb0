//! Children within bounds: what they may write, how long they may live, and that none outlives its handle.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Command, Limits, ProcessError, Tool};

const SH: Tool = Tool {
    program: "sh",
    package: "dash",
};

fn sh(script: &str) -> Command {
    Command::new(SH).arg("-c").arg(script)
}

#[expect(clippy::disallowed_methods, reason = "the one polling helper of these tests")]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come true in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn keeps_output_and_status() {
    let output = sh("echo out; echo err >&2").output().await.unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_str()),
        (b"out\n".as_slice(), "err")
    );
}

#[tokio::test]
async fn a_failure_carries_the_status_and_the_last_words() {
    let error = sh("echo 'no such \x1b[31mdisk' >&2; exit 3")
        .output()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "sh failed (exit status: 3): no such [31mdisk");
    assert_eq!(
        sh("exit 3").output_of_any_status().await.unwrap().status.code(),
        Some(3)
    );
}

#[tokio::test]
async fn a_missing_program_names_the_package() {
    let tool = Tool {
        program: "no-such-program-anywhere",
        package: "qemu-utils",
    };
    let error = Command::new(tool).output().await.unwrap_err();
    assert!(matches!(error, ProcessError::NotInstalled { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("install the Debian package qemu-utils"),
        "{error}"
    );
}

#[tokio::test]
async fn time_is_bounded() {
    let started = Instant::now();
    let error = sh("echo waiting >&2; exec sleep 600")
        .timeout(Duration::from_millis(300))
        .output()
        .await;
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(
        matches!(&error, Err(ProcessError::TimedOut { stderr, .. }) if stderr == "waiting"),
        "{error:?}"
    );
}

#[tokio::test]
async fn output_is_bounded() {
    let error = sh("exec cat /dev/zero").stdout_limit(100_000).output().await;
    assert!(
        matches!(error, Err(ProcessError::TooMuchOutput { limit: 100_000, .. })),
        "{error:?}"
    );
    let output = sh("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo the end >&2")
        .output()
        .await
        .unwrap();
    assert!(output.stderr.ends_with("the end") && output.stderr.len() <= 8 * 1024);
}

#[tokio::test]
async fn memory_and_processor_are_bounded() {
    let limits = Limits {
        address_space: Some(64 << 20),
        cpu_seconds: Some(1),
    };
    let output = sh("ulimit -v; ulimit -t; ulimit -c")
        .limits(limits)
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "65536\n1\n0\n");
    let error = sh("while :; do :; done").limits(limits).output().await;
    assert!(matches!(error, Err(ProcessError::Failed { .. })), "{error:?}");
}

#[tokio::test]
async fn the_environment_and_the_terminal_stay_out() {
    let output = sh("env | cut -d= -f1 | grep -v -x -e PWD -e _ -e SHLVL -e OLDPWD | sort; cat")
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "LC_ALL\nPATH\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_dies_with_its_handle() {
    let daemon = sh("exec sleep 600").daemon().await.unwrap();
    let pid = daemon.id().unwrap();
    assert!(lives(pid));
    drop(daemon);
    wait_until("death of the dropped daemon", || !lives(pid));
}

#[tokio::test]
async fn a_daemon_stops_when_asked() {
    let daemon = sh("exec sleep 600").daemon().await.unwrap();
    let status = daemon.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGTERM)
    );
}

#[tokio::test]
async fn a_daemon_that_will_not_stop_is_killed() {
    let daemon = sh("trap '' TERM; echo deaf >&2; exec sleep 600").daemon().await;
    let daemon = daemon.unwrap();
    let deaf = async {
        while daemon.stderr() != "deaf" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), deaf)
        .await
        .expect("the trap is set");
    let status = daemon.stop(Duration::from_millis(100)).await.unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
}

#[tokio::test]
async fn a_daemon_that_ends_says_why() {
    let mut daemon = sh("echo address in use >&2; exit 7").daemon().await.unwrap();
    assert_eq!(
        daemon.died().await.to_string(),
        "sh failed (exit status: 7): address in use"
    );
    assert_eq!(
        daemon.died().await.to_string(),
        "sh failed (exit status: 7): address in use"
    );
}

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let asked = std::thread::spawn(move || handle.block_on(sh("exec sleep 600").daemon()).unwrap());
    let mut daemon = asked.join().unwrap();
    let pid = daemon.id().unwrap();
    // A child bound to the asking thread would be dying now; give that death every chance to show.
    let ended =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), daemon.died()).await });
    assert!(
        ended.is_err() && lives(pid),
        "the child died with the thread: {ended:?}"
    );
}

const ORPHAN_MAKER: &str = "PROCESS_TEST_MAKES_AN_ORPHAN";

/// Not a test of its own: the process that the next test starts, and kills.
#[tokio::test]
async fn parent_to_be_killed() {
    if std::env::var_os(ORPHAN_MAKER).is_none() {
        return;
    }
    let daemon = sh("exec sleep 600").daemon().await.unwrap();
    println!("\nchild {}", daemon.id().unwrap());
    std::future::pending::<()>().await;
}

#[test]
fn children_die_when_we_are_killed() {
    use std::io::{BufRead, BufReader};
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::tests::parent_to_be_killed", "--nocapture"])
        .env(ORPHAN_MAKER, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child ")?.parse::<u32>().ok());
    let alive = told.is_some_and(lives);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(alive, "the child ran before: {told:?}");
    // An orphan is reaped by whoever inherits it; until then it is a zombie, which runs no more.
    wait_until("death of the orphan", || !told.is_some_and(runs));
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}
