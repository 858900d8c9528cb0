//! A process that is killed in the middle of a cycle.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use migrate_engine::source::{Cycle, FileSource, Source};

use crate::folders;

const WORD: &str = "reading, kill me";

/// Freezes `machine` of the bench at `root` in another process, reads it there, and kills that.
pub(crate) fn lose(root: &Path, machine: &str, cycle: &Cycle) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "lost::that_is_killed", "--nocapture"])
        .env("LOST_ROOT", root)
        .env("LOST_MACHINE", machine)
        .env("LOST_CYCLE", &cycle.name)
        .env("LOST_OWNER", &cycle.owner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_reading = lines.any(|line| line.unwrap().contains(WORD));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_reading, "the other process failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "this is the process that is killed"]
async fn that_is_killed() {
    let Some(root) = std::env::var_os("LOST_ROOT").map(PathBuf::from) else {
        return;
    };
    let text = |name: &str| std::env::var(name).unwrap();
    let source = FileSource::new(root.join("src"), folders::options(&root));
    let machine = source.machine(&text("LOST_MACHINE"), None).await.unwrap();
    let cycle = Cycle {
        name: text("LOST_CYCLE"),
        owner: text("LOST_OWNER"),
    };
    let frozen = source.freeze(&machine, &cycle).await.unwrap();
    let mut readers = Vec::new();
    for disk in frozen.disks() {
        readers.push(frozen.reader(disk, None).await.unwrap());
    }
    println!("{WORD}");
    // Until whoever kills it is gone itself.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(readers);
}
