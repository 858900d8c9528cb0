//! Runs that leave something behind on purpose, and differences between made-up moments.

use std::process::Stdio;

use super::leak::between;
use super::proc::Process;
use super::snapshot::Mount;
use super::*;

const DIR: &str = "/tmp/vx-1-0";

fn process(pid: u32, started: u64, parent: u32, run: Option<&str>, arguments: &str) -> Process {
    let run = run.map(Into::into);
    Process {
        pid,
        parent,
        started,
        name: "nbdkit".into(),
        arguments: arguments.into(),
        run,
    }
}

fn leaks(before: &Snapshot, after: &Snapshot) -> Vec<(String, bool)> {
    between(before, after, Path::new(DIR))
        .into_iter()
        .map(|leak| (leak.what, leak.is_ours))
        .collect()
}

#[test]
fn nothing_new_is_no_leak() {
    let mut snapshot = Snapshot {
        processes: vec![process(5, 100, 1, Some(DIR), "")],
        ..Snapshot::default()
    };
    snapshot.loops.insert("/dev/loop0".into(), format!("{DIR}/disk"));
    assert_eq!(leaks(&snapshot, &snapshot), []);
}

#[test]
fn a_loop_device_is_ours_when_its_file_is_however_many_layers_down() {
    let mut after = Snapshot::default();
    after
        .loops
        .insert("/dev/loop1".into(), format!("{DIR}/tmp/disk (deleted)"));
    after.loops.insert("/dev/loop2".into(), "/dev/loop1".into());
    after
        .loops
        .insert("/dev/loop3".into(), "/home/someone/disk".into());
    let ours: Vec<bool> = leaks(&Snapshot::default(), &after)
        .into_iter()
        .map(|leak| leak.1)
        .collect();
    assert_eq!(ours, [true, true, false]);
}

#[test]
fn a_directory_that_only_begins_alike_is_not_ours() {
    let mut after = Snapshot::default();
    after
        .loops
        .insert("/dev/loop1".into(), format!("{DIR}0/tmp/disk"));
    after
        .processes
        .push(process(7, 1, 1, None, "nbdkit /tmp/vx-1-00/sock"));
    let ours: Vec<bool> = leaks(&Snapshot::default(), &after)
        .into_iter()
        .map(|leak| leak.1)
        .collect();
    assert_eq!(ours, [false, false]);
}

#[test]
fn a_known_node_on_another_file_is_new() {
    let (mut before, mut after) = (Snapshot::default(), Snapshot::default());
    before.loops.insert("/dev/loop1".into(), "/home/a".into());
    after.loops.insert("/dev/loop1".into(), "/home/b".into());
    assert_eq!(leaks(&before, &after).len(), 1);
}

#[test]
fn a_reused_process_id_is_a_new_process_and_a_worker_of_an_old_one_is_none() {
    let before = Snapshot {
        processes: vec![process(5, 100, 1, None, "")],
        ..Snapshot::default()
    };
    let worker = process(9, 300, 5, None, "");
    let after = Snapshot {
        processes: vec![process(5, 200, 1, None, "")],
        ..Snapshot::default()
    };
    assert_eq!(leaks(&before, &after).len(), 1);
    let after = Snapshot {
        processes: vec![process(5, 100, 1, None, ""), worker],
        ..Snapshot::default()
    };
    assert_eq!(leaks(&before, &after), []);
}

#[test]
fn processes_mounts_and_files_are_told_with_whose_they_are() {
    let mut after = Snapshot::default();
    after.processes.push(process(7, 1, 1, Some(DIR), "nbdkit null"));
    after
        .processes
        .push(process(8, 1, 1, None, &format!("nbdkit -U {DIR}/sock null")));
    after.mounts.insert(Mount {
        point: format!("{DIR}/mnt"),
        source: "/dev/sda".into(),
    });
    after.mounts.insert(Mount {
        point: "/mnt".into(),
        source: "/dev/sda".into(),
    });
    after.files.insert(format!("{DIR}/tmp/left").into());
    let found = leaks(&Snapshot::default(), &after);
    assert_eq!(found.iter().filter(|leak| leak.1).count(), 4, "{found:?}");
    assert_eq!(found.len(), 5, "{found:?}");
}

/// The sweeper is this program's hidden command, which the test binary is not: these call its work directly.
fn unswept() -> Run {
    let dir = make_dir().unwrap();
    fs::create_dir(dir.join("tmp")).unwrap();
    let before = Snapshot::take(&dir).unwrap();
    Run {
        dir,
        before,
        sweeper: None,
    }
}

#[test]
fn a_process_and_a_file_left_behind_are_found_and_swept() {
    let run = unswept();
    let mut left = run
        .command("sh")
        .args(["-c", "exec sleep 600"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    fs::write(run.temp_dir().join("left"), "x").unwrap();
    let ours: Vec<Leak> = run
        .leaks()
        .unwrap()
        .into_iter()
        .filter(|leak| leak.is_ours)
        .collect();
    assert_eq!(ours.len(), 2, "{ours:?}");

    // Somebody has to reap the child, or it would stay as a zombie; those are not counted anyway.
    let reaper = std::thread::spawn(move || left.wait().unwrap());
    sweep::sweep(run.dir()).unwrap();
    assert!(!reaper.join().unwrap().success());
    assert!(!run.dir().exists());
    sweep::sweep(run.dir()).unwrap();
}

#[test]
fn a_loop_device_and_a_mount_left_behind_are_found_and_swept() {
    let can_loop = is_root() && Path::new("/dev/loop-control").exists();
    if !can_loop {
        assert!(
            !workspace::in_ci(),
            "loop devices need root and a kernel that has them"
        );
        eprintln!("SKIPPED: loop devices need root and a kernel that has them");
        return;
    }
    let run = unswept();
    let image = run.dir().join("disk");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    output(command("mkfs.ext4").arg("-q").arg(&image)).unwrap();
    let node = output(command("losetup").args(["--find", "--show"]).arg(&image)).unwrap();
    let point = run.dir().join("mnt");
    fs::create_dir(&point).unwrap();
    output(
        command("mount")
            .args(["-o", "ro,noload", node.trim()])
            .arg(&point),
    )
    .unwrap();
    let ours: Vec<Leak> = run
        .leaks()
        .unwrap()
        .into_iter()
        .filter(|leak| leak.is_ours)
        .collect();

    sweep::sweep(run.dir()).unwrap();
    assert_eq!(ours.len(), 2, "{ours:?}");
    assert!(!run.dir().exists());
    assert_ne!(
        snapshot::loops().get(node.trim()).map(String::as_str),
        image.to_str()
    );
}
