//! The watcher on real devices, real uevents and real lost uevents.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod device_support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use device_support::{Backing, Loop, Process, can_run, run, wait_until};
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;
use volumed::device::{
    Alarms, Disk, IdentitySource, Inventory, InventoryFeed, KernelIdentities, NotReady, RescanError, Watcher,
    WatcherConfig,
};
use volumed::model::{DevNum, Identity};

/// The periodic scan is as good as off: what is seen is seen by an alarm.
fn by_alarms_only(alarms: Alarms) -> WatcherConfig {
    let never = Duration::from_secs(36_000);
    WatcherConfig {
        alarms,
        idle_interval: never,
        expecting_interval: never,
        ..WatcherConfig::default()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn holding(inventory: &Inventory, backing: &Backing) -> Option<Disk> {
    let identity = Some(backing.expectation().identity);
    inventory
        .disks
        .iter()
        .find(|disk| disk.identity == identity)
        .cloned()
}

async fn appears(feed: &InventoryFeed, backing: &Backing) -> Disk {
    feed.wait_for(|inventory| holding(inventory, backing), soon())
        .await
        .expect("the disk appears")
}

async fn goes(feed: &InventoryFeed, backing: &Backing) {
    let gone = |inventory: &Arc<Inventory>| holding(inventory, backing).is_none().then_some(());
    feed.wait_for(gone, soon()).await.expect("the disk goes");
}

/// Waits until no loop device has the file: another opener of the node (udevd, a scan) defers its detach.
fn let_go(backing: &Backing) {
    wait_until("the file being let go", || {
        let used = run("losetup", &["--associated", backing.path()]);
        used.is_empty().then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn uevents_alone_show_disks_coming_and_going() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"uevents.........");
    let (watcher, feed) = Watcher::start(by_alarms_only(Alarms::All)).unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begin = Instant::now();
        let attached = backing.attach();
        let disk = appears(&feed, &backing).await;
        slowest = slowest.max(begin.elapsed());
        assert_eq!(disk.node, attached.node);
        attached.detach();
        goes(&feed, &backing).await;
    }
    let stats = watcher.stats();
    eprintln!(
        "slowest attach, losetup included: {slowest:?}; {} uevents, {} scans, last scan {:?}",
        stats.block_events.load(Ordering::Relaxed),
        stats.scans.load(Ordering::Relaxed),
        stats.last_scan_duration(),
    );
    assert!(stats.block_events.load(Ordering::Relaxed) >= 40);
    assert_eq!(stats.events_dropped.load(Ordering::Relaxed), 0);
    watcher.stop();
}

/// The same test in a network namespace of its own, where udev's events do not come.
#[test]
fn a_private_network_namespace_makes_no_difference() {
    if !can_run(&["unshare"]) {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let test = "uevents_alone_show_disks_coming_and_going";
    let printed = run("unshare", &["--net", this.to_str().unwrap(), "--exact", test]);
    assert!(printed.contains("1 passed"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_netlink_the_device_directory_is_the_alarm() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"inotify.........");
    let (watcher, feed) = Watcher::start(by_alarms_only(Alarms::InotifyOnly)).unwrap();
    let _attached = backing.attach();
    // The loop device's node may have been there before; any new node is as good a hint.
    let hint = tempfile::Builder::new()
        .prefix("volumed-test-")
        .tempfile_in("/dev")
        .unwrap();
    appears(&feed, &backing).await;
    drop(hint);
    assert_eq!(watcher.stats().kernel_events.load(Ordering::Relaxed), 0);
    watcher.stop();
}

/// Holds the scanning thread at a disk of ours for as long as it is closed.
#[derive(Default)]
struct Gate {
    closed_at: Mutex<Option<String>>,
    opened: Condvar,
    waiting: AtomicU32,
}

impl Gate {
    fn close_at(&self, name: &str) {
        *self.closed_at.lock() = Some(name.to_owned());
    }

    fn open(&self) {
        *self.closed_at.lock() = None;
        self.opened.notify_all();
    }
}

impl IdentitySource for Gate {
    fn identity(
        &self,
        sysfs: &Path,
        name: &str,
        node: &Path,
        devnum: DevNum,
    ) -> Result<Option<Identity>, NotReady> {
        let mut closed_at = self.closed_at.lock();
        if closed_at.as_deref() == Some(name) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.opened
                .wait_while(&mut closed_at, |closed_at| closed_at.is_some());
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(closed_at);
        KernelIdentities::default().identity(sysfs, name, node, devnum)
    }
}

fn start_gated(config: WatcherConfig) -> (Watcher, InventoryFeed, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let identities = Arc::clone(&gate) as Arc<dyn IdentitySource>;
    let (watcher, feed) = Watcher::start(WatcherConfig { identities, ..config }).unwrap();
    (watcher, feed, gate)
}

fn hold(feed: &InventoryFeed, gate: &Gate, at: &Loop) {
    gate.close_at(at.name());
    let feed = feed.clone();
    tokio::spawn(async move { feed.rescan(soon()).await });
    wait_until("the scan being held", || {
        (gate.waiting.load(Ordering::SeqCst) > 0).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_uevents_are_noticed_and_healed_by_a_scan() {
    const FLOOD: u64 = 3000;
    if !can_run(&[]) {
        return;
    }
    let (first, second) = (
        Backing::new(b"overrun, first.."),
        Backing::new(b"overrun, second."),
    );
    let held = first.attach();
    let config = WatcherConfig {
        receive_buffer: 4096,
        ..by_alarms_only(Alarms::All)
    };
    let (watcher, feed, gate) = start_gated(config);
    appears(&feed, &first).await;
    hold(&feed, &gate, &held);

    // Uevents of no interest fill the buffer, so that those of the disk that comes then are lost, every one.
    for _ in 0..FLOOD {
        std::fs::write("/sys/class/mem/null/uevent", "change").unwrap();
    }
    let _attached = second.attach();
    let before = feed.latest().generation;
    gate.open();

    // The held scan is the next generation; the one that heals comes after it.
    let healed = |inventory: &Arc<Inventory>| {
        (inventory.generation > before + 1)
            .then(|| holding(inventory, &second))
            .flatten()
    };
    feed.wait_for(healed, soon())
        .await
        .expect("a scan after the held one shows the disk");
    let stats = watcher.stats();
    wait_until("the verdict on the gap", || {
        (stats.gaps.load(Ordering::Relaxed) > 0).then_some(())
    });
    let missed = stats.events_missed.load(Ordering::Relaxed);
    let dropped = stats.events_dropped.load(Ordering::Relaxed);
    eprintln!("{missed} uevents missed by number, {dropped} dropped says the kernel");
    assert!(missed >= FLOOD - 100 && dropped >= FLOOD - 100);
    watcher.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_is_seen_and_bounds_the_waiting() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"stuck...........");
    let held = backing.attach();
    let (watcher, feed, gate) = start_gated(by_alarms_only(Alarms::All));
    assert_eq!(watcher.stats().scan_running_for(), None);
    hold(&feed, &gate, &held);
    assert!(watcher.stats().scan_running_for().is_some());
    let deadline = Instant::now() + Duration::from_millis(100);
    assert_eq!(feed.rescan(deadline).await, Err(RescanError::TimedOut));
    assert!(
        holding(&feed.latest(), &backing).is_some(),
        "the last inventory stays"
    );
    gate.open();
    feed.rescan(soon()).await.unwrap();
    watcher.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_needs_no_alarm() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"rescan..........");
    let (watcher, feed) = Watcher::start(by_alarms_only(Alarms::InotifyOnly)).unwrap();
    for _ in 0..10 {
        let attached = backing.attach();
        let inventory = feed.rescan(soon()).await.unwrap();
        assert_eq!(holding(&inventory, &backing).unwrap().node, attached.node);
        attached.detach();
        let_go(&backing);
        assert!(holding(&feed.rescan(soon()).await.unwrap(), &backing).is_none());
    }
    watcher.stop();
}

/// A udevd of our own, with all that it leaves behind.
struct Udevd {
    process: Process,
    links_were_there: bool,
}

impl Udevd {
    const DAEMON: &str = "/lib/systemd/systemd-udevd";
    const CONTROL: &str = "/run/udev/control";

    fn start() -> Udevd {
        let links_were_there = Path::new("/dev/disk").exists();
        let process = Process::spawn(&mut Command::new(Udevd::DAEMON));
        let udevd = Udevd {
            process,
            links_were_there,
        };
        wait_until("udevd being ready", || {
            Path::new(Udevd::CONTROL).exists().then_some(())
        });
        udevd
    }
}

impl Drop for Udevd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process.0);
        // Asked politely it ends its workers too.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.0.wait();
        let _ = std::fs::remove_dir_all("/run/udev");
        if !self.links_were_there {
            let _ = std::fs::remove_dir_all("/dev/disk");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udevd_runs_its_events_are_one_more_alarm() {
    if !can_run(&[Udevd::DAEMON]) {
        return;
    }
    let backing = Backing::new(b"udevd...........");
    let (watcher, feed) = Watcher::start(by_alarms_only(Alarms::All)).unwrap();
    // It may come after us: the next scan finds it.
    let _udevd = (!Path::new(Udevd::CONTROL).exists()).then(Udevd::start);
    feed.rescan(soon()).await.unwrap();
    wait_until("an event of udevd", || {
        let attached = backing.attach();
        let came = watcher.stats().udev_events.load(Ordering::Relaxed) > 0;
        attached.detach();
        came.then_some(())
    });
    let_go(&backing);
    feed.rescan(soon()).await.unwrap();
    let attached = backing.attach();
    assert_eq!(appears(&feed, &backing).await.node, attached.node);
    attached.detach();
    goes(&feed, &backing).await;
    watcher.stop();
}
