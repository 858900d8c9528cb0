//! What others can see of a running nbdkit, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::stand_in::{PASSWORD, StandIn, read};
use crate::block::testing::wait_until;
use crate::block::{BlockError, BlockRead, BufferPool, Cancel, ReadRequest, ReadWorker};

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// Asks for the begin of the disk, and does not wait for it.
fn ask(disk: &dyn BlockRead, cancel: &Cancel) -> Box<dyn ReadWorker> {
    let mut worker = disk.open_worker(cancel).unwrap();
    let pool = BufferPool::new(1, 4096, 4096);
    let request = ReadRequest {
        offset: 0,
        buffer: pool.take().unwrap(),
        wanted: std::iter::once(0..4096).collect(),
    };
    worker.submit(request).unwrap();
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_process_can_see_the_password() {
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    let pid = disk.server_id().unwrap();
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.is_empty() && !text.contains(PASSWORD) && !text.contains("p@ss"),
            "{file}: {text}"
        );
    }
    let homes = stand_in.left();
    assert_eq!(homes.len(), 1);
    assert_eq!(homes[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let mut files: Vec<_> = std::fs::read_dir(&homes[0])
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["nbd", "pid"], "the password's file is gone");
    assert!(read(&disk).unwrap() == stand_in.disk, "and is not needed");
    drop(disk);
    wait_until("the end of nbdkit", || !runs(pid));
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_given_up_while_it_opens_ends_too() {
    let Some(stand_in) = StandIn::new() else { return };
    stand_in.put("mode", b"stuck");
    tokio::select! {
        _ = stand_in.open() => panic!("it does not get ready"),
        () = until_started(&stand_in) => {}
    }
    stand_in.assert_nothing_is_left().await;
}

async fn until_started(stand_in: &StandIn) {
    while stand_in.log().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_is_given_up_when_cancelled_and_killed_when_dropped() {
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    let pid = disk.server_id().unwrap();
    stand_in.put("mode", b"hang");
    let cancel = Cancel::new();
    let mut worker = ask(&disk, &cancel);
    let raised = cancel.clone();
    let began = Instant::now();
    let waiting = std::thread::spawn(move || {
        let outcome = worker.complete().map(drop);
        drop(worker);
        outcome
    });
    raised.cancel();
    let outcome = waiting.join().unwrap();
    assert!(matches!(outcome, Err(BlockError::Interrupted)), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(disk);
    // It does not end when asked to.
    stand_in.assert_nothing_is_left().await;
    assert!(!runs(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_dropped_in_the_middle_of_a_read_closes_its_disk() {
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    stand_in.put("mode", b"slow");
    let cancel = Cancel::new();
    let worker = ask(&disk, &cancel);
    wait_until("the read", || {
        stand_in.log().iter().any(|line| line.starts_with("read "))
    });
    cancel.cancel();
    drop(worker);
    drop(disk);
    stand_in.assert_nothing_is_left().await;
    let log = stand_in.log();
    let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(count("close"), count("open "), "{log:#?}");
}

const VICTIM: &str = "VDDK_TEST_IS_TO_BE_KILLED";

/// Not a test of its own: the process that the next test starts, and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_to_be_killed() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    stand_in.put("mode", b"slow");
    let _worker = ask(&disk, &Cancel::new());
    let has_begun = |line: &String| line.starts_with("read ");
    wait_until("the read", || stand_in.log().iter().any(has_begun));
    let (ours, its) = (stand_in.run_dir.path().display(), stand_in.path().display());
    println!("\nserver {} {ours} {its}", disk.server_id().unwrap());
    std::future::pending::<()>().await;
}

#[test]
fn it_ends_when_we_are_killed_in_the_middle_of_a_read() {
    use std::io::{BufRead, BufReader};
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "source::vsphere::vddk::tests::ends::reader_to_be_killed",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("server ").map(str::to_owned));
    let told: Vec<String> = told.unwrap_or_default().split(' ').map(str::to_owned).collect();
    let pid = told[0].parse().unwrap();
    let alive = runs(pid);
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(alive, "it ran before: {told:?}");
    wait_until("the end of nbdkit", || !runs(pid));
    // A password's file was gone long before.
    let home = std::fs::read_dir(&told[1])
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(home.join("pid").exists() && !home.join("password").exists());
    for folder in &told[1..] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
