//! Tests of the records.

use super::*;

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("sub/engine.db")).unwrap()
}

fn completed() -> CopyEnd {
    CopyEnd::Completed {
        digest: Some("d".into()),
    }
}

#[test]
fn a_disk_is_finished_only_with_its_machine() {
    let dir = tempfile::tempdir().unwrap();
    let row = |copy| DiskRow {
        copy,
        volume: "v",
        vm: "vm",
        disk: "disk",
        attachment: Attachment::Ours,
    };
    let before = store(dir.path());
    assert_eq!(before.standing("v").unwrap(), Standing::Unknown);
    let machine = before.begin_machine("s", "vm").unwrap();
    let disk = before.begin_disk(&row(machine)).unwrap();
    assert_eq!(
        before.standing("v").unwrap(),
        Standing::Unfinished(Attachment::Ours)
    );
    before.end_disk(disk, &completed()).unwrap();
    assert_eq!(
        before.standing("v").unwrap(),
        Standing::Unfinished(Attachment::Ours)
    );
    before.end_machine(machine, &completed()).unwrap();
    drop(before);
    let after = store(dir.path());
    assert_eq!(after.standing("v").unwrap(), Standing::Finished);
    let again = after.begin_machine("s", "vm").unwrap();
    after.begin_disk(&row(again)).unwrap();
    assert_eq!(
        after.standing("v").unwrap(),
        Standing::Unfinished(Attachment::Ours)
    );
}

#[test]
fn a_newer_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.db");
    drop(Store::open(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Newer { found: 99, .. })
    ));
}

#[test]
fn other_programs_find_the_tables_by_the_names_that_they_know_also_in_an_older_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.db");
    let conn = Connection::open(&path).unwrap();
    // As version 3 left it.
    for part in &PARTS[..3] {
        conn.execute_batch(part).unwrap();
    }
    conn.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(Store::open(&path).unwrap());
    for name in [
        "replication_jobs",
        "vm_replication_contexts",
        "vm_disks",
        "ossea_volumes",
        "device_mappings",
        "nbd_exports",
        "vm_export_mappings",
    ] {
        let sql = format!("SELECT count(*) FROM {name}");
        let found: i64 = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{name}");
    }
}

#[test]
fn a_volume_has_one_live_export() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let row = |run: &str| ExportRow {
        volume_id: "v".into(),
        name: "n".into(),
        device_path: "/dev/x".into(),
        uri: "nbd://".into(),
        backend: "b".into(),
        listen: "l".into(),
        run: run.into(),
    };
    store.publishing(&row("one")).unwrap();
    store.publishing(&row("two")).unwrap();
    assert_eq!(store.live_exports("one").unwrap(), []);
    assert_eq!(store.live_exports("two").unwrap(), [row("two")]);
    store.withdrawn("v").unwrap();
    assert_eq!(store.live_exports("two").unwrap(), []);
}

#[test]
fn only_the_folders_of_dead_runs_are_found_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (runtime, scratch) = (dir.path().join("run"), dir.path());
    let (living, none) = Run::begin(&runtime, scratch).unwrap();
    assert!(none.is_empty());
    let (killed, _) = Run::begin(&runtime, scratch).unwrap();
    let (id, folders) = (killed.id(), [killed.dir.clone(), killed.scratch.clone()]);
    std::fs::write(folders[1].join("unpacked"), "x").unwrap();
    // As a killed process leaves it: the lock is free, the folders are there.
    let killed = std::mem::ManuallyDrop::new(killed);
    flock_free(&killed._lock);

    let (third, dead) = Run::begin(&runtime, scratch).unwrap();
    assert_eq!(dead.iter().map(DeadRun::id).collect::<Vec<_>>(), [id]);
    let (fourth, claimed) = Run::begin(&runtime, scratch).unwrap();
    assert!(claimed.is_empty(), "one run cleans up after a dead one");
    dead.into_iter().for_each(DeadRun::forget);
    assert!(folders.iter().all(|folder| !folder.exists()));
    assert!(living.dir().exists() && third.scratch().exists());
    drop((living, third, fourth));
    assert_eq!(std::fs::read_dir(&runtime).unwrap().count(), 1, "the lock only");
}

fn flock_free(lock: &std::fs::File) {
    rustix::fs::flock(lock, rustix::fs::FlockOperation::Unlock).unwrap();
}
