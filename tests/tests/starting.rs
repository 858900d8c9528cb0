//! Starting where one must not: beside another daemon, or on a database that is newer, damaged, or somebody else's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use volume_client::types::VolumeState;
use whole_system_tests::Appliance;

const MIB: u64 = 1 << 20;

/// Where SQLite keeps `user_version`, big-endian (file format, section 1.3).
const USER_VERSION: u64 = 60;

/// That starting `second` is refused with a text that says `why`, while `first` works on as if nothing had been.
async fn assert_refused(first: &Appliance, second: &mut Appliance, why: &str) {
    let id = first.create("mine", MIB).await.id;
    let path = first.attach(id).await.device_path;
    let (status, log) = second.start_in_vain().await;
    assert!(!status.success(), "{log}");
    assert!(log.contains(why), "{log}");
    let last = log.lines().last().unwrap();
    assert!(
        last.starts_with("volumed: "),
        "the reason is the last thing that is said: {log}"
    );
    assert_eq!(first.client().volume_device(id).await.unwrap().device_path, path);
    first.detach(id).await;
    assert_eq!(
        first.client().volume(id).await.unwrap().state,
        VolumeState::Available
    );
    assert!(first.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_database_is_refused() {
    let Some(first) = Appliance::started().await else {
        return;
    };
    let mut second = Appliance::new().unwrap();
    second.setup.database = first.setup.database.clone();
    assert_refused(&first, &mut second, "in use by another volumed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_volumes_is_refused() {
    let Some(first) = Appliance::started().await else {
        return;
    };
    let mut second = Appliance::new().unwrap();
    second.setup.local_root = first.setup.local_root.clone();
    assert_refused(&first, &mut second, "belong to another process that is running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_socket_is_refused() {
    let Some(first) = Appliance::started().await else {
        return;
    };
    let mut second = Appliance::new().unwrap();
    second.setup.socket = first.setup.socket.clone();
    assert_refused(&first, &mut second, "another daemon answers on socket").await;
    assert!(first.setup.socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_dead_daemon_is_taken_over_and_a_file_of_another_kind_is_not() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    appliance.kill().await;
    assert!(
        appliance.setup.socket.exists(),
        "a killed daemon leaves its socket"
    );
    appliance.start().await;
    assert!(appliance.stop().await.success());
    assert!(!appliance.setup.socket.exists());
    fs::write(&appliance.setup.socket, "precious").unwrap();
    let (status, log) = appliance.start_in_vain().await;
    assert!(!status.success() && log.contains("is no socket"), "{log}");
    assert_eq!(fs::read_to_string(&appliance.setup.socket).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_can_reach_is_refused() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.listen = Some("0.0.0.0:0".into());
    let (status, log) = appliance.start_in_vain().await;
    assert!(!status.success() && log.contains("0.0.0.0:0"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_the_configuration_is_told_at_once() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.environment = vec![
        ("VOLUMED_OPERATIONS_CONCURRENCY", "0".into()),
        ("VOLUMED_SHUTDOWN_GRACE_SECONDS", "soon".into()),
        ("VOLUMED_HTTP_BODY_LIMIT_BYTES", "-1".into()),
    ];
    let (status, log) = appliance.start_in_vain().await;
    assert!(!status.success());
    for key in ["CONCURRENCY", "GRACE_SECONDS", "BODY_LIMIT"] {
        assert!(log.contains(key), "{key}: {log}");
    }
    assert!(!appliance.setup.database.exists(), "nothing was made");
}

/// A database with one volume in it, closed and in one file.
async fn with_a_database() -> Option<Appliance> {
    let mut appliance = Appliance::started().await?;
    appliance.create("kept", MIB).await;
    assert!(appliance.stop().await.success());
    let conn = rusqlite::Connection::open(&appliance.setup.database).unwrap();
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    assert!(!log_of(&appliance.setup.database).exists());
    Some(appliance)
}

/// The write-ahead log of a database.
fn log_of(database: &Path) -> PathBuf {
    let mut log = database.to_owned().into_os_string();
    log.push("-wal");
    log.into()
}

/// Whoever copies the file of a daemon that has stopped must not lose what it had promised.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_a_stopped_daemon_is_whole_in_its_one_file() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("kept", MIB).await.id;
    assert!(appliance.stop().await.success());
    let copy = appliance.dir().join("copy.db");
    fs::copy(&appliance.setup.database, &copy).unwrap();
    appliance.setup.database = copy;
    appliance.start().await;
    assert_eq!(appliance.client().volume(id).await.unwrap().name, "kept");
}

/// That the daemon refuses its database, says `why`, and leaves it to the byte.
async fn assert_database_refused(appliance: &mut Appliance, why: &str) {
    let before = fs::read(&appliance.setup.database).unwrap();
    let (status, log) = appliance.start_in_vain().await;
    assert!(!status.success(), "{log}");
    assert!(log.contains(why), "{log}");
    assert!(
        log.contains(appliance.setup.database.to_str().unwrap()),
        "it is named: {log}"
    );
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(
        fs::read(&appliance.setup.database).unwrap(),
        before,
        "it is changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_daemon_is_refused() {
    let Some(mut appliance) = with_a_database().await else {
        return;
    };
    let file = File::options()
        .write(true)
        .open(&appliance.setup.database)
        .unwrap();
    file.write_all_at(&99_u32.to_be_bytes(), USER_VERSION).unwrap();
    assert_database_refused(&mut appliance, "newer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_refused() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    fs::write(
        &appliance.setup.database,
        "these are my holiday pictures ".repeat(500),
    )
    .unwrap();
    assert_database_refused(&mut appliance, "is not a database of volumed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_refused() {
    let Some(mut appliance) = with_a_database().await else {
        return;
    };
    let file = File::options()
        .write(true)
        .open(&appliance.setup.database)
        .unwrap();
    // The application id follows the version.
    file.write_all_at(&[1, 2, 3, 4], USER_VERSION + 8).unwrap();
    assert_database_refused(&mut appliance, "is not a database of volumed").await;
}

/// The schema is there, but pages behind it are rubbish: the daemon must not take work on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_refused() {
    let Some(mut appliance) = with_a_database().await else {
        return;
    };
    let file = File::options()
        .write(true)
        .open(&appliance.setup.database)
        .unwrap();
    let size = file.metadata().unwrap().len();
    let rubbish = vec![0xa5; usize::try_from(size - 4096).unwrap()];
    file.write_all_at(&rubbish, 4096).unwrap();
    assert_database_refused(&mut appliance, "database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_cut_short_is_refused() {
    let Some(mut appliance) = with_a_database().await else {
        return;
    };
    let file = File::options()
        .write(true)
        .open(&appliance.setup.database)
        .unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(size / 2).unwrap();
    assert_database_refused(&mut appliance, "database").await;
}
