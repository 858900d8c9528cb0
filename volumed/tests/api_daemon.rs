//! The daemon as a process: how it starts, whom it lets in, what it tells the service manager, how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at what it does not expect"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use volumed::model::EventKind;
use volumed::store::{Store, events};

const BINARY: &str = env!("CARGO_BIN_EXE_volumed");
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the daemon can run here; said loudly where it cannot, and an error in CI.
fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var("CI").is_err(), "CI must run this as root");
    if !root {
        eprintln!("SKIPPED: needs root for loop devices");
    }
    root
}

/// Asks again and again until the answer is yes.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "the one polling wait of these tests, bounded above"
        )]
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn volumed(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--config", "/dev/null", "--vm-id", "vm"]);
    command.env("VOLUMED_DATABASE", dir.join("volumed.db"));
    command.env("VOLUMED_SOCKET", dir.join("run/volumed.sock"));
    command.env("VOLUMED_LOCAL_ROOT", dir.join("volumes"));
    command.args(arguments).stderr(Stdio::piped());
    command
}

/// A running daemon; dropped, it is gone.
struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = volumed(dir.path(), arguments).spawn().unwrap();
        drain(&mut child);
        let daemon = Self { child, dir };
        wait_until("the daemon is ready", || {
            daemon
                .get("/readyz")
                .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/volumed.sock")
    }

    fn get(&self, path: &str) -> Option<String> {
        exchange(UnixStream::connect(self.socket()).ok()?, path)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the daemon has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log to its end, so that the daemon never waits for a reader.
fn drain(child: &mut Child) {
    let log = child.stderr.take().unwrap();
    std::thread::spawn(move || BufReader::new(log).lines().for_each(drop));
}

fn exchange<S: Read + Write>(mut stream: S, path: &str) -> Option<String> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Runs a daemon that must fail, and returns what it said.
fn failing(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_daemon_told_to_stop_ends_its_streams_removes_its_socket_and_succeeds() {
    if !can_run() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&[]);
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        let idle = UnixStream::connect(daemon.socket()).unwrap();
        let asked = Instant::now();
        daemon.signal(signal);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "the stream was cut, not ended");
        assert!(daemon.end().success());
        assert!(
            asked.elapsed() < Duration::from_secs(15),
            "it waited for its grace to pass"
        );
        assert!(!daemon.socket().exists());
        drop(idle);
    }
}

#[test]
fn a_client_that_never_finishes_does_not_keep_the_daemon_beyond_its_grace() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = volumed(dir.path(), &[]);
    let mut child = command
        .env("VOLUMED_SHUTDOWN_GRACE_SECONDS", "1")
        .spawn()
        .unwrap();
    drain(&mut child);
    let mut daemon = Daemon { child, dir };
    wait_until("the daemon answers", || daemon.get("/healthz").is_some());
    let mut slow = UnixStream::connect(daemon.socket()).unwrap();
    let head =
        "POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    let mut going_on = [0; 12];
    slow.read_exact(&mut going_on).unwrap();
    assert_eq!(
        &going_on, b"HTTP/1.1 100",
        "the daemon is not waiting for the body"
    );
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    assert!(
        asked.elapsed() >= Duration::from_millis(900),
        "it did not wait for its grace"
    );
}

#[test]
fn a_reader_that_takes_no_events_does_not_keep_the_daemon_beyond_its_grace() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fill_with_events(&dir.path().join("volumed.db"));
    let mut command = volumed(dir.path(), &[]);
    let mut child = command
        .env("VOLUMED_SHUTDOWN_GRACE_SECONDS", "2")
        .spawn()
        .unwrap();
    drain(&mut child);
    let mut daemon = Daemon { child, dir };
    wait_until("the daemon answers", || daemon.get("/healthz").is_some());
    let mut stalled = UnixStream::connect(daemon.socket()).unwrap();
    write!(stalled, "GET /api/v1/events?after=0 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let waiting = || rustix::io::ioctl_fionread(&stalled).unwrap();
    let mut before = 0;
    wait_until("the daemon cannot send any more", || {
        let now = waiting();
        now > 64 << 10 && std::mem::replace(&mut before, now) == now
    });
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert!(
        waiting() < (EVENTS * EVENT) as u64,
        "all of it was sent before the end"
    );
}

const EVENTS: usize = 2000;
/// The bytes that each of them has at least.
const EVENT: usize = 1000;

/// Records more than a socket holds.
fn fill_with_events(database: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(database).unwrap();
        let data = serde_json::json!({ "text": "x".repeat(EVENT) });
        let filled = store.write(move |tx| {
            (0..EVENTS).try_for_each(|_| events::append(tx, EventKind::Volume, None, None, &data))
        });
        filled.await.unwrap();
        store.close().await;
    });
}

#[test]
fn as_many_descriptors_may_be_open_as_the_system_allows() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plain = volumed(dir.path(), &[]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "ulimit -Sn 256; ulimit -Hn 3000; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args())
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drain(&mut child);
    let daemon = Daemon { child, dir };
    wait_until("the daemon answers", || daemon.get("/healthz").is_some());
    let metrics = daemon.get("/metrics").unwrap();
    assert!(metrics.contains("process_max_fds 3000"), "{metrics}");
}

#[test]
fn a_second_daemon_is_refused_by_database_and_by_socket() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start(&[]);
    let said = failing(volumed(daemon.dir.path(), &[]));
    assert!(said.contains("in use by another volumed"), "{said}");
    let other = daemon.dir.path().join("other.db");
    let said = failing(volumed(
        daemon.dir.path(),
        &["--database", other.to_str().unwrap()],
    ));
    assert!(said.contains("another daemon answers on socket"), "{said}");
    assert!(
        daemon
            .get("/healthz")
            .is_some_and(|answer| answer.ends_with("alive\n"))
    );
}

#[test]
fn a_killed_daemon_leaves_nothing_that_stops_the_next_one() {
    if !can_run() {
        return;
    }
    let mut daemon = Daemon::start(&[]);
    daemon.signal(Signal::KILL);
    assert!(!daemon.end().success());
    assert!(daemon.socket().exists(), "nobody was left to remove it");
    daemon.child = volumed(daemon.dir.path(), &[]).spawn().unwrap();
    drain(&mut daemon.child);
    wait_until("the next daemon answers", || daemon.get("/healthz").is_some());
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
}

#[test]
fn tcp_is_served_on_loopback_and_nowhere_else() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let said = failing(volumed(dir.path(), &["--listen", "0.0.0.0:0"]));
    assert!(said.contains("TLS and tokens"), "{said}");

    let mut child = volumed(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--socket", "", "--log-format", "json"],
    )
    .spawn()
    .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut daemon = Daemon { child, dir };
    let address = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log ended");
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = entry["address"].as_str() {
            break address.to_owned();
        }
    };
    std::thread::spawn(move || log.lines().for_each(drop));
    let answer = exchange(TcpStream::connect(&address).unwrap(), "/healthz").unwrap();
    assert!(answer.ends_with("alive\n"), "{answer}");
    assert!(!daemon.socket().exists());
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
}

#[test]
fn the_service_manager_is_told_and_its_watchdog_fed() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let notified = dir.path().join("notify");
    let manager = UnixDatagram::bind(&notified).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |wanted: &str| {
        let mut text = [0; 256];
        loop {
            let length = manager
                .recv(&mut text)
                .unwrap_or_else(|e| panic!("waiting for {wanted}: {e}"));
            if String::from_utf8_lossy(&text[..length])
                .lines()
                .any(|line| line == wanted)
            {
                return;
            }
        }
    };
    let mut command = volumed(dir.path(), &[]);
    command
        .env("NOTIFY_SOCKET", &notified)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID");
    let mut child = command.spawn().unwrap();
    drain(&mut child);
    let mut daemon = Daemon { child, dir };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    assert!(daemon.end().success());
}

#[test]
fn sockets_of_the_service_manager_are_served() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activated.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let passed = rustix::io::fcntl_dupfd_cloexec(&listener, 10).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&passed);
    rustix::io::fcntl_setfd(&passed, rustix::io::FdFlags::empty()).unwrap();
    let plain = volumed(dir.path(), &[]);
    // The shell gives the daemon its own process id, as the service manager would, and descriptor 3.
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&{number} {number}<&-");
    let mut command = Command::new("/bin/bash");
    command
        .args(["-c", &script])
        .arg(plain.get_program())
        .args(plain.get_args())
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((listener, passed));
    drain(&mut child);
    let mut daemon = Daemon { child, dir };
    let answer = exchange(UnixStream::connect(&path).unwrap(), "/healthz").unwrap();
    assert!(answer.ends_with("alive\n"), "{answer}");
    assert!(!daemon.socket().exists(), "it made a socket of its own");
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    assert!(path.exists(), "the service manager's file is not ours to remove");
}

#[test]
fn everything_wrong_with_the_configuration_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("volumed.toml");
    std::fs::write(&file, "database = 'x'\n[operations]\nconcurrency = 0\n").unwrap();
    let check = |file: &Path| {
        let mut command = Command::new(BINARY);
        command.arg("check-config").arg("--config").arg(file);
        command
    };
    let mut bad = check(&file);
    bad.env("VOLUMED_LOG_LEVEL", "loud")
        .args(["--listen", "192.0.2.1:8090"]);
    let said = failing(bad);
    for key in [
        "`database`",
        "`operations.concurrency`",
        "`log.level`",
        "`listen`",
    ] {
        assert!(said.contains(key), "{key} is not in {said}");
    }
    let missing = failing(check(&dir.path().join("none")));
    assert!(missing.contains("cannot read configuration"), "{missing}");
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/volumed.toml");
    assert!(check(&documented).status().unwrap().success());
}

#[test]
fn the_description_and_the_version_are_printed() {
    let output = Command::new(BINARY).arg("openapi").output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/api/v1/volumes"].is_object());
    let version = Command::new(BINARY).arg("--version").output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&version).contains(env!("CARGO_PKG_VERSION")));
}
