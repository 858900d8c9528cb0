//! The watcher on made-up machines: no root, no kernel events, every alarm in the test's hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::device::fake_tree::FakeTree;
use crate::device::identity::NotReady;
use crate::model::{DevNum, Identity};

const NEVER: Duration = Duration::from_secs(36_000);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn config(tree: &FakeTree) -> WatcherConfig {
    WatcherConfig {
        root: tree.root(),
        alarms: Alarms::InotifyOnly,
        idle_interval: NEVER,
        expecting_interval: NEVER,
        ..WatcherConfig::default()
    }
}

fn plug(tree: &FakeTree, name: &str, minor: u32) {
    let dir = tree.disk(name, &format!("254:{minor}"), minor.into());
    tree.write(dir.join("serial"), name);
}

#[tokio::test]
async fn the_first_inventory_is_there_at_once() {
    let tree = FakeTree::new();
    plug(&tree, "vda", 0);
    let (watcher, feed) = Watcher::start(config(&tree)).unwrap();
    assert_eq!(feed.latest().disks.len(), 1);
    assert_eq!(feed.latest().generation, 1);
    watcher.stop();
}

#[tokio::test]
async fn a_new_node_is_an_alarm() {
    let tree = FakeTree::new();
    let (watcher, feed) = Watcher::start(config(&tree)).unwrap();
    plug(&tree, "vdb", 16);
    tree.write("dev/vdb", "");
    feed.wait_for(|inventory| inventory.disk("vdb").map(drop), soon())
        .await
        .unwrap();

    std::fs::remove_dir_all(tree.path("sys/block/vdb")).unwrap();
    std::fs::remove_file(tree.path("dev/vdb")).unwrap();
    feed.wait_for(|inventory| inventory.disks.is_empty().then_some(()), soon())
        .await
        .unwrap();
    assert!(watcher.stats().inotify_events.load(Ordering::Relaxed) >= 2);
    assert!(watcher.stats().last_event_age().is_some());
    watcher.stop();
}

#[tokio::test]
async fn a_rescan_sees_what_was_there_when_it_was_asked_for() {
    let tree = FakeTree::new();
    let (watcher, feed) = Watcher::start(config(&tree)).unwrap();
    for round in 1..50 {
        plug(&tree, &format!("dm-{round}"), round);
        let inventory = feed.rescan(soon()).await.unwrap();
        assert_eq!(inventory.disks.len(), usize::try_from(round).unwrap());
    }
    watcher.stop();
}

#[tokio::test]
async fn while_a_change_is_expected_no_alarm_is_needed() {
    let tree = FakeTree::new();
    let (watcher, feed) = Watcher::start(WatcherConfig {
        expecting_interval: Duration::from_millis(5),
        ..config(&tree)
    })
    .unwrap();
    plug(&tree, "vdb", 16);
    let seen = |inventory: &Arc<Inventory>| inventory.disk("vdb").map(drop);
    let patience = Instant::now() + Duration::from_millis(200);
    assert_eq!(
        feed.wait_for(seen, patience).await,
        Err(WaitError::TimedOut),
        "nobody expects anything"
    );
    let expected = feed.expect_change();
    feed.wait_for(seen, soon()).await.unwrap();
    drop(expected);
    watcher.stop();
}

#[tokio::test]
async fn an_unsettled_disk_is_looked_at_again_without_an_alarm() {
    let tree = FakeTree::new();
    tree.disk("vdb", "254:16", 16);
    let (watcher, feed) = Watcher::start(config(&tree)).unwrap();
    assert_eq!(feed.latest().unsettled, ["vdb"]);
    tree.write("sys/block/vdb/serial", "aaa");
    let settled = |inventory: &Arc<Inventory>| inventory.disk("vdb").and_then(|disk| disk.identity.clone());
    assert_eq!(
        feed.wait_for(settled, soon()).await.unwrap(),
        Identity::Serial("aaa".into())
    );
    watcher.stop();
}

#[tokio::test]
async fn a_scan_that_fails_keeps_the_last_inventory_and_is_tried_again() {
    let tree = FakeTree::new();
    plug(&tree, "vda", 0);
    let (watcher, feed) = Watcher::start(config(&tree)).unwrap();
    std::fs::rename(tree.path("sys/block"), tree.path("sys/away")).unwrap();
    let deadline = Instant::now() + Duration::from_millis(400);
    assert_eq!(feed.rescan(deadline).await, Err(RescanError::TimedOut));
    assert_eq!(feed.latest().disks.len(), 1);
    assert!(feed.stats().scan_failures.load(Ordering::Relaxed) > 0);

    std::fs::rename(tree.path("sys/away"), tree.path("sys/block")).unwrap();
    feed.wait_for(|inventory| (inventory.generation > 1).then_some(()), soon())
        .await
        .unwrap();
    watcher.stop();
}

#[tokio::test]
async fn a_machine_without_sysfs_is_refused() {
    let tree = FakeTree::new();
    std::fs::remove_dir(tree.path("sys/block")).unwrap();
    assert!(matches!(
        Watcher::start(config(&tree)),
        Err(WatcherStartError::Scan(_))
    ));
    std::fs::remove_dir(tree.path("dev")).unwrap();
    assert!(matches!(
        Watcher::start(config(&tree)),
        Err(WatcherStartError::NoAlarms(_))
    ));
}

/// Panics, once told to.
struct Bomb(AtomicBool);

impl IdentitySource for Bomb {
    fn identity(&self, _: &Path, _: &str, _: &Path, _: DevNum) -> Result<Option<Identity>, NotReady> {
        assert!(!self.0.load(Ordering::SeqCst), "boom");
        Ok(None)
    }
}

#[tokio::test]
async fn the_death_of_the_thread_is_seen() {
    let tree = FakeTree::new();
    plug(&tree, "vda", 0);
    let bomb = Arc::new(Bomb(AtomicBool::new(false)));
    let identities = Arc::clone(&bomb);
    let (watcher, feed) = Watcher::start(WatcherConfig {
        identities,
        ..config(&tree)
    })
    .unwrap();
    bomb.0.store(true, Ordering::SeqCst);
    assert_eq!(feed.rescan(soon()).await, Err(RescanError::Ended));
    let died = tokio::time::timeout_at(soon(), watcher.died()).await.unwrap();
    assert_eq!(died.reason, "it panicked: boom");
    watcher.stop();
}

#[tokio::test]
async fn stopping_is_not_dying() {
    let tree = FakeTree::new();
    let (watcher, mut feed) = Watcher::start(config(&tree)).unwrap();
    let died = watcher.died();
    watcher.stop();
    assert!(feed.changed().await.is_err());
    assert!(
        tokio::time::timeout(Duration::from_millis(50), died)
            .await
            .is_err()
    );
    assert_eq!(feed.rescan(soon()).await, Err(RescanError::Ended));
}
