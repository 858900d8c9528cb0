//! Damaged databases: refused as they are, with a way out; met while running, the daemon ends and nothing is written over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use volume_client::types::NewVolume;
use whole_system_tests::{Appliance, Chance, volumectl, volumed};

const MIB: u64 = 1 << 20;
const PAGE: usize = 4096;

fn log_of(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", database.display()))
}

/// A killed daemon's database: some rows, and a log of some transactions.
async fn killed() -> Option<Appliance> {
    let mut appliance = Appliance::started().await?;
    for n in 0..40 {
        appliance.create(&format!("disk {n}"), MIB).await;
    }
    assert!(appliance.stop().await.success());
    appliance.start().await;
    for n in 0..4 {
        appliance.create(&format!("later {n}"), MIB).await;
    }
    appliance.kill().await;
    let database = &appliance.setup.database;
    assert!(fs::metadata(database).unwrap().len() > 20 * PAGE as u64);
    assert!(fs::metadata(log_of(database)).unwrap().len() > 20 * PAGE as u64);
    Some(appliance)
}

/// What is damaged, and how the bytes of database and log are after that.
type Case = (String, Vec<u8>, Option<Vec<u8>>);

/// The pages of the database that the log does not replace.
fn in_use(database: &[u8], log: &[u8]) -> Vec<usize> {
    let replaced: Vec<usize> = log[32..]
        .chunks_exact(24 + PAGE)
        .map(|frame| u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize)
        .collect();
    let pages = database.len() / PAGE;
    (1..=pages).filter(|page| !replaced.contains(page)).collect()
}

fn cases(database: &[u8], log: &[u8], chance: &mut Chance) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut put =
        |what: &str, database: Vec<u8>, log: Option<Vec<u8>>| cases.push((what.to_owned(), database, log));
    let whole = || Some(log.to_vec());
    let with = |bytes: &[u8], at: usize, filler: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + filler.len()].copy_from_slice(filler);
        bytes
    };
    let mut rubbish = |length: usize| {
        (0..length)
            .map(|_| chance.below(256).try_into().unwrap())
            .collect::<Vec<u8>>()
    };

    put("an empty file", Vec::new(), None);
    put("an empty file beside its log", Vec::new(), whole());
    put("nothing but zeroes", vec![0; database.len()], None);
    put("nothing but rubbish", rubbish(database.len()), None);
    put("another magic", with(database, 0, b"NotSQLite"), None);
    put("a head of rubbish", with(database, 0, &rubbish(100)), None);
    put("half a page", database[..PAGE / 2].to_vec(), None);
    put("one page", database[..PAGE].to_vec(), None);
    put(
        "half of it",
        database[..database.len() / 2 / PAGE * PAGE].to_vec(),
        None,
    );
    for page in in_use(database, log)
        .into_iter()
        .filter(|page| *page > 1)
        .step_by(3)
    {
        put(
            &format!("rubbish in page {page}"),
            with(database, (page - 1) * PAGE, &rubbish(PAGE)),
            whole(),
        );
        put(
            &format!("zeroes in page {page}"),
            with(database, (page - 1) * PAGE, &[0; PAGE]),
            whole(),
        );
        put(
            &format!("a torn page {page}"),
            with(database, (page - 1) * PAGE, &rubbish(512)),
            whole(),
        );
    }
    let frames = (log.len() - 32) / (24 + PAGE);
    put(
        "a log's head of rubbish",
        database.to_vec(),
        Some(with(log, 0, &rubbish(32))),
    );
    put(
        "one bit of the log's salts",
        database.to_vec(),
        Some(with(log, 17, &[log[17] ^ 1])),
    );
    for frame in (0..frames - 8).step_by(frames / 8) {
        let at = 32 + frame * (24 + PAGE);
        put(
            &format!("rubbish in frame {frame}"),
            database.to_vec(),
            Some(with(log, at + 24, &rubbish(PAGE))),
        );
        put(
            &format!("one bit of frame {frame}"),
            database.to_vec(),
            Some(with(log, at + 999, &[log[at + 999] ^ 8])),
        );
        put(
            &format!("the head of frame {frame}"),
            database.to_vec(),
            Some(with(log, at, &rubbish(24))),
        );
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_refused_with_a_way_out_and_no_bit_is_changed() {
    let Some(mut appliance) = killed().await else {
        return;
    };
    let path = appliance.setup.database.clone();
    let backup = appliance.dir().join("backup");
    let arguments = [
        "backup",
        "--database",
        path.to_str().unwrap(),
        "--to",
        backup.to_str().unwrap(),
    ];
    assert_eq!(volumed(arguments).code, Some(0));
    let (database, log) = (fs::read(&path).unwrap(), fs::read(log_of(&path)).unwrap());
    let cases = cases(&database, &log, &mut Chance::from_seed(5));
    assert!(cases.len() > 50, "only {}", cases.len());
    for (what, database, log) in cases {
        for rest in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{rest}", path.display()));
        }
        fs::write(&path, &database).unwrap();
        if let Some(log) = &log {
            fs::write(log_of(&path), log).unwrap();
        }
        let (status, said) = appliance.start_in_vain().await;
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("volumed: ") && last.contains(path.to_str().unwrap()),
            "{what}: {said}"
        );
        assert!(
            last.contains("volumed restore") && last.contains("volumed fsck"),
            "{what}: {said}"
        );
        assert!(
            last.contains(backup.to_str().unwrap()),
            "{what}: the last backup is not named: {said}"
        );
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert!(
            fs::read(&path).unwrap() == database,
            "{what}: the database is changed"
        );
        match &log {
            Some(log) => assert!(
                &fs::read(log_of(&path)).unwrap() == log,
                "{what}: the log is changed"
            ),
            None => assert_eq!(
                fs::metadata(log_of(&path)).map_or(0, |found| found.len()),
                0,
                "{what}"
            ),
        }
    }
    // The way out is one.
    let arguments = [
        "restore",
        "--database",
        path.to_str().unwrap(),
        "--from",
        backup.to_str().unwrap(),
    ];
    assert_eq!(volumed(arguments).code, Some(0));
    appliance.start().await;
    assert_eq!(appliance.client().status().await.unwrap().counts.volumes, 44);
}

/// The end of a log that was never synced is no damage: a power cut leaves such.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_log_is_no_damage() {
    let Some(mut appliance) = killed().await else {
        return;
    };
    let path = log_of(&appliance.setup.database);
    let mut log = fs::read(&path).unwrap();
    log.extend(vec![0xa5; 3 * PAGE + 77]);
    fs::write(&path, log).unwrap();
    appliance.start().await;
    assert_eq!(appliance.client().status().await.unwrap().counts.volumes, 44);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_met_while_it_runs_ends_the_daemon_and_is_not_written_over() {
    let Some(mut appliance) = killed().await else {
        return;
    };
    // Once more, so that all is in the one file.
    appliance.start().await;
    let known = appliance.create("known", MIB).await.id;
    assert!(appliance.stop().await.success());
    let path = appliance.setup.database.clone();
    let whole = fs::read(&path).unwrap();
    let conn = Connection::open(&path).unwrap();
    let of_journal = "SELECT rootpage FROM sqlite_schema WHERE name = 'operation_steps'";
    let root: usize = conn.query_row(of_journal, [], |row| row.get(0)).unwrap();
    let of_known = "SELECT id FROM operations WHERE volume_id = ?1";
    let operation: String = conn
        .query_row(of_known, [known.to_string()], |row| row.get(0))
        .unwrap();
    conn.close().unwrap();
    for is_read in [false, true] {
        fs::write(&path, &whole).unwrap();
        appliance.start().await;
        // Nobody has looked at the journal yet, so it is in nobody's memory.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; PAGE], ((root - 1) * PAGE) as u64)
            .unwrap();
        let damaged = fs::read(&path).unwrap();
        let client = appliance.client();
        if is_read {
            let answer = client.operation(operation.parse().unwrap()).await;
            assert!(answer.is_err(), "{answer:?}");
        } else {
            let new = NewVolume {
                name: "x".into(),
                size_bytes: MIB,
                source: None,
            };
            let _ = client.create_volume(&new).await;
        }
        let status = appliance.ended().await;
        assert_eq!(status.code(), Some(1), "{}", appliance.log());
        assert!(
            appliance.log().contains("can no longer be trusted"),
            "{}",
            appliance.log()
        );
        assert!(!appliance.log().contains("panicked"), "{}", appliance.log());
        assert!(fs::read(&path).unwrap() == damaged, "somebody wrote over it");
        let (status, said) = appliance.start_in_vain().await;
        assert!(!status.success() && said.contains("volumed restore"), "{said}");
        assert_eq!(volumectl(&appliance.setup.socket, ["status"]).code, Some(3));
        for rest in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{rest}", path.display()));
        }
    }
}
