//! Scan, usage and pin on real loop devices.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod device_support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use device_support::{Backing, Mounted, Process, SIZE, can_run, marker_of, run, wait_until};
use volumed::device::{
    Correlation, Disk, Exclusivity, Expectation, PinError, SysRoot, Usage, Use, correlate, exclusive_probe,
    open_verified, openers, scan,
};
use volumed::model::{Bytes, Identity};

fn disk(name: &str) -> Option<Disk> {
    scan(&SysRoot::default()).unwrap().disk(name).cloned()
}

fn uses(disk: &Disk) -> Vec<Use> {
    let root = SysRoot::default();
    Usage::collect(&root, &scan(&root).unwrap())
        .unwrap()
        .of(disk.devnum)
        .to_vec()
}

fn correlated(expected: &Expectation) -> Correlation {
    let root = SysRoot::default();
    let inventory = scan(&root).unwrap();
    correlate(&inventory, &Usage::collect(&root, &inventory).unwrap(), expected)
}

#[test]
fn a_loop_device_is_the_file_behind_it_on_any_file_system() {
    if !can_run(&[]) {
        return;
    }
    for dir in ["/var/tmp", "/dev/shm"] {
        let backing = Backing::within(Path::new(dir), b"on any fs.......");
        let attached = backing.attach();
        let disk = disk(attached.name()).unwrap();
        assert_eq!(disk.identity, Some(backing.expectation().identity), "{dir}");
        assert_eq!((disk.size, disk.read_only), (SIZE, false));
        assert_eq!(disk.node, attached.node);
        assert!(disk.diskseq.is_some());
        assert_eq!(correlated(&backing.expectation()), Correlation::Matched(disk));
        attached.detach();
        wait_until("the disk going", || {
            (correlated(&backing.expectation()) == Correlation::Missing).then_some(())
        });
    }
}

#[test]
fn one_file_on_two_loop_devices_is_ambiguous() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"twins...........");
    let _devices = [backing.attach(), backing.attach()];
    assert!(matches!(correlated(&backing.expectation()), Correlation::Ambiguous(disks) if disks.len() == 2));
}

#[test]
fn a_mounted_disk_is_busy_even_if_only_a_partition_is_mounted() {
    if !can_run(&["mkfs.ext4", "addpart"]) {
        return;
    }
    let whole = Backing::new(b"whole...........");
    let attached = whole.attach();
    let disk_of_whole = disk(attached.name()).unwrap();
    run("mkfs.ext4", &["-q", attached.node()]);
    assert_eq!(exclusive_probe(&disk_of_whole).unwrap(), Exclusivity::Free);
    let mounted = Mounted::new(attached.node());
    let by_mount = Use::Mounted(mounted.at.path().to_owned());
    assert_eq!(uses(&disk_of_whole), std::slice::from_ref(&by_mount));
    assert_eq!(exclusive_probe(&disk_of_whole).unwrap(), Exclusivity::Claimed);
    assert_eq!(
        correlated(&whole.expectation()),
        Correlation::Busy(disk_of_whole.clone(), vec![by_mount])
    );
    drop(mounted);
    assert_eq!(uses(&disk_of_whole), []);

    let parted = Backing::new(b"parted..........");
    let attached = parted.attach_with(&["--partscan"]);
    let partition = format!("{}p1", attached.node());
    // Told to the kernel directly: it need not know any partition table.
    run("addpart", &[attached.node(), "1", "2048", "30720"]);
    wait_until("the partition", || Path::new(&partition).exists().then_some(()));
    let disk_with_parts = disk(attached.name()).unwrap();
    assert_eq!(disk_with_parts.partitions.len(), 1);
    assert!(
        matches!(correlated(&parted.expectation()), Correlation::Matched(_)),
        "partitions alone are no use"
    );
    run("mkfs.ext4", &["-q", &partition]);
    let mounted = Mounted::new(&partition);
    assert_eq!(
        uses(&disk_with_parts),
        [Use::Mounted(mounted.at.path().to_owned())]
    );
}

#[test]
fn swap_is_a_use() {
    if !can_run(&["mkswap", "swapon"]) {
        return;
    }
    struct Swap(PathBuf);
    impl Drop for Swap {
        fn drop(&mut self) {
            let _ = Command::new("swapoff").arg(&self.0).output();
        }
    }
    let backing = Backing::new(b"swap............");
    let attached = backing.attach();
    run("mkswap", &[attached.node()]);
    run("swapon", &["--priority", "0", attached.node()]);
    let _swap = Swap(attached.node.clone());
    assert_eq!(
        uses(&disk(attached.name()).unwrap()),
        [Use::Swap(attached.node.clone())]
    );
}

#[test]
fn processes_that_have_it_open_are_found_and_we_are_not_among_them() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"openers.........");
    let attached = backing.attach();
    let disk = disk(attached.name()).unwrap();
    let _pin = open_verified(&disk, &backing.expectation()).unwrap();
    assert_eq!(
        exclusive_probe(&disk).unwrap(),
        Exclusivity::Free,
        "a pin is no claim"
    );

    let process = Process::spawn(
        Command::new("sleep")
            .arg("600")
            .stdin(File::open(&disk.node).unwrap()),
    );
    let pid = process.0.id();
    let root = SysRoot::default();
    // Between fork and exec it still has our name.
    wait_until("finding the opener", || {
        let found = openers(&root, &disk).unwrap();
        found
            .iter()
            .any(|opener| opener.pid == pid && opener.comm == "sleep")
            .then_some(())
    });
    assert!(
        openers(&root, &disk)
            .unwrap()
            .iter()
            .all(|opener| opener.pid != std::process::id())
    );
    drop(process);
    assert!(
        openers(&root, &disk)
            .unwrap()
            .iter()
            .all(|opener| opener.pid != pid)
    );
}

#[test]
fn a_pin_observes_the_disk_and_blocks_nothing() {
    if !can_run(&["mkfs.ext4"]) {
        return;
    }
    let backing = Backing::new(b"pin.............");
    let attached = backing.attach();
    let disk = disk(attached.name()).unwrap();
    let expected = backing.expectation();
    let pin = open_verified(&disk, &expected).unwrap();
    let observed = pin.verify(&expected).unwrap();
    assert_eq!((&observed.path, observed.devnum), (&disk.node, disk.devnum));
    assert_eq!((observed.diskseq, observed.size), (disk.diskseq, disk.size));
    assert_eq!(observed.identity, expected.identity);
    assert_eq!(
        (pin.devnum(), pin.diskseq(), pin.node()),
        (disk.devnum, disk.diskseq, disk.node.as_path())
    );

    run("mkfs.ext4", &["-q", attached.node()]);
    drop(Mounted::new(attached.node()));
    pin.flush().unwrap();
    pin.verify(&expected).unwrap();

    backing.file.as_file().set_len(SIZE.0 * 2).unwrap();
    run("losetup", &["--set-capacity", attached.node()]);
    let grown = Expectation {
        size: Bytes(SIZE.0 * 2),
        ..expected.clone()
    };
    assert!(matches!(pin.verify(&expected), Err(PinError::WrongSize { found, .. }) if found == grown.size));
    assert_eq!(pin.verify(&grown).unwrap().size, grown.size);
}

#[test]
fn what_is_not_the_expected_disk_is_not_pinned() {
    if !can_run(&[]) {
        return;
    }
    let (ours, other) = (
        Backing::new(b"ours............"),
        Backing::new(b"other..........."),
    );
    let (our_loop, other_loop) = (ours.attach(), other.attach());
    let (our_disk, other_disk) = (disk(our_loop.name()).unwrap(), disk(other_loop.name()).unwrap());
    let expected = ours.expectation();
    let refused = |disk: &Disk, expected: &Expectation| open_verified(disk, expected).unwrap_err();

    let error = refused(&other_disk, &expected);
    assert!(
        matches!(&error, PinError::WrongIdentity { found: Some(_), .. }),
        "{error}"
    );

    let error = refused(
        &our_disk,
        &Expectation {
            size: Bytes(SIZE.0 - 512),
            ..expected.clone()
        },
    );
    assert!(
        matches!(error, PinError::WrongSize { found: SIZE, .. }),
        "{error}"
    );

    let stale = Disk {
        diskseq: our_disk.diskseq.map(|seq| seq - 1),
        ..our_disk.clone()
    };
    let error = refused(&stale, &expected);
    assert!(matches!(error, PinError::WrongIncarnation { .. }), "{error}");

    let moved = Disk {
        node: other_disk.node.clone(),
        ..our_disk.clone()
    };
    let error = refused(&moved, &expected);
    assert!(matches!(error, PinError::WrongDevice { .. }), "{error}");

    let misnamed = Disk {
        name: other_disk.name,
        ..our_disk.clone()
    };
    let error = refused(&misnamed, &expected);
    assert!(matches!(error, PinError::WrongDevice { .. }), "{error}");

    let file = Disk {
        node: ours.file.path().to_owned(),
        ..our_disk.clone()
    };
    assert!(matches!(refused(&file, &expected), PinError::NotBlock { .. }));

    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&our_disk.node, &link).unwrap();
    let linked = Disk {
        node: link,
        ..our_disk.clone()
    };
    assert!(
        matches!(refused(&linked, &expected), PinError::NotBlock { .. }),
        "even a link to the right disk"
    );

    let absent = Disk {
        node: dir.path().join("absent"),
        ..our_disk.clone()
    };
    assert!(matches!(refused(&absent, &expected), PinError::Gone { .. }));

    let blank = Expectation {
        identity: Identity::LoopBacking { device: 0, inode: 0 },
        size: SIZE,
    };
    assert!(matches!(
        refused(&our_disk, &blank),
        PinError::WrongIdentity { .. }
    ));
}

#[test]
fn read_only_and_partial_loop_devices_are_not_pinned() {
    if !can_run(&[]) {
        return;
    }
    let backing = Backing::new(b"read only.......");
    let attached = backing.attach_with(&["--read-only"]);
    let read_only = disk(attached.name()).unwrap();
    assert!(read_only.read_only);
    assert!(matches!(
        open_verified(&read_only, &backing.expectation()),
        Err(PinError::ReadOnly { .. })
    ));
    attached.detach();

    // A window of the right size onto a file that is larger: the right inode, but not that volume.
    let backing = Backing::new(b"partial.........");
    backing.file.as_file().set_len(SIZE.0 + (1 << 20)).unwrap();
    let attached = backing.attach_with(&["--offset", "1048576"]);
    let partial = disk(attached.name()).unwrap();
    assert_eq!(
        (partial.size, &partial.identity),
        (SIZE, &Some(backing.expectation().identity))
    );
    let error = open_verified(&partial, &backing.expectation()).unwrap_err();
    assert!(
        matches!(error, PinError::WrongIdentity { found: None, .. }),
        "{error}"
    );
}

#[test]
fn while_pinned_the_name_goes_to_no_other_disk() {
    if !can_run(&[]) {
        return;
    }
    let (ours, other) = (
        Backing::new(b"pinned.........."),
        Backing::new(b"usurper........."),
    );
    let attached = ours.attach();
    let name = attached.name().to_owned();
    let disk = disk(&name).unwrap();
    let pin = open_verified(&disk, &ours.expectation()).unwrap();
    attached.detach();
    for _ in 0..20 {
        let usurper = other.attach();
        assert_ne!(usurper.name(), name);
        let direct = Command::new("losetup")
            .args([disk.node.to_str().unwrap(), other.path()])
            .output()
            .unwrap();
        assert!(!direct.status.success(), "not even when asked for by name");
        usurper.detach();
    }
    assert_eq!(
        pin.verify(&ours.expectation()).unwrap().path,
        disk.node,
        "cleared only when the pin goes"
    );
    drop(pin);
    wait_until("the old incarnation going", || {
        let now = scan(&SysRoot::default())
            .unwrap()
            .disk(&name)
            .and_then(|disk| disk.diskseq);
        (now != disk.diskseq).then_some(())
    });
    assert!(open_verified(&disk, &ours.expectation()).is_err());
}

fn file_of(fd: impl AsFd) -> File {
    let fd: OwnedFd = fd.as_fd().try_clone_to_owned().unwrap();
    File::from(fd)
}

/// Two disks change places all the time; a client resolves, opens and reads. With the pin it never reads wrong bytes;
/// how often a reader of the bare path does is told for comparison.
#[test]
fn a_pinned_reader_never_reads_another_disk_while_names_are_swapped() {
    if !can_run(&[]) {
        return;
    }
    const GOOD_READS: u32 = 250;
    let backings = [
        Backing::new(b"marker of disk A"),
        Backing::new(b"marker of disk B"),
    ];
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                let (first, second) = (round % 2, (round + 1) % 2);
                let _devices = [backings[first].attach(), backings[second].attach()];
                if is_done() {
                    break;
                }
            }
        });
        // Tells the attacker to stop even when an assertion fails.
        struct Done<'a>(&'a std::sync::atomic::AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let _done = Done(&done);

        let (mut good, mut refused, mut naive_wrong, mut naive) = (0, 0, 0, 0);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
        let mut turn = 0;
        while good < GOOD_READS {
            assert!(
                std::time::Instant::now() < end,
                "only {good} good reads, {refused} refusals"
            );
            turn += 1;
            let target = &backings[turn % 2];
            let expected = target.expectation();
            let root = SysRoot::default();
            let inventory = scan(&root).unwrap();
            let Correlation::Matched(disk) = correlate(&inventory, &Usage::default(), &expected) else {
                continue;
            };
            if turn % 3 == 0 {
                // The way of the peers: the path was right a moment ago. Something else may take that long.
                let _ = Command::new("true").status();
                if let Ok(read) = File::open(&disk.node).and_then(|file| marker_of(&file)) {
                    naive += 1;
                    naive_wrong += u32::from(read != target.marker);
                }
                continue;
            }
            match open_verified(&disk, &expected) {
                Err(_) => refused += 1,
                Ok(pin) => {
                    let file = file_of(&pin);
                    assert_eq!(
                        marker_of(&file).unwrap(),
                        target.marker,
                        "read through the descriptor"
                    );
                    let path = pin.verify(&expected).unwrap().path;
                    let by_path = File::open(path).unwrap();
                    assert_eq!(
                        marker_of(&by_path).unwrap(),
                        target.marker,
                        "read by the path while pinned"
                    );
                    good += 1;
                }
            }
        }
        eprintln!("pinned: 0 wrong of {good} ({refused} refused); bare path: {naive_wrong} wrong of {naive}");
    });
}
