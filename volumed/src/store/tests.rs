//! What the schema refuses, what survives, and what a full or foreign database does.

use super::*;
use crate::model::{Bytes, Identity, OperationId, Request, VolumeId, VolumeState};
use crate::store::volumes::{NewRow, Provided};

struct Opened {
    dir: tempfile::TempDir,
    store: Store,
}

fn opened() -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("v.db")).unwrap();
    Opened { dir, store }
}

/// A volume that is being attached.
async fn attaching(store: &Store, serial: &str) -> VolumeId {
    let (id, identity) = (VolumeId::new(), Identity::Serial(serial.into()));
    store
        .write(move |tx| {
            volumes::insert(
                tx,
                id,
                "local",
                &NewRow {
                    name: "v",
                    size: Bytes(4096),
                    source: None,
                },
            )?;
            let provider_ref = id.to_string();
            let provided = Provided {
                provider_ref: &provider_ref,
                identity: Some(&identity),
                size: Bytes(4096),
                fresh_zero: true,
            };
            volumes::set_provided(tx, id, &provided)?;
            volumes::set_state(tx, id, VolumeState::Available)?;
            attachments::reserve(tx, id, "vm")?;
            volumes::set_state(tx, id, VolumeState::Attaching)
        })
        .await
        .unwrap();
    id
}

fn observed(serial: &str, path: &str, minor: u32, diskseq: u64) -> Observation {
    Observation {
        identity: Identity::Serial(serial.into()),
        boot_id: "boot".into(),
        diskseq: Some(diskseq),
        size: Bytes(4096),
        device_path: path.into(),
        devnum: format!("7:{minor}"),
        written_sectors: 0,
    }
}

async fn bind(store: &Store, id: VolumeId, seen: Observation) -> Result<MappingRecord, StoreError> {
    store.write(move |tx| mappings::bind(tx, id, &seen)).await
}

#[tokio::test]
async fn two_volumes_never_hold_one_path_number_identity_or_incarnation() {
    let Opened { store, dir: _dir } = opened();
    let (a, b) = (attaching(&store, "aa").await, attaching(&store, "bb").await);
    bind(&store, a, observed("aa", "/dev/x", 1, 10)).await.unwrap();
    for twin in [
        observed("bb", "/dev/x", 2, 11),
        observed("bb", "/dev/y", 1, 11),
        observed("aa", "/dev/y", 2, 11),
        observed("bb", "/dev/y", 2, 10),
    ] {
        let refused = bind(&store, b, twin.clone()).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { .. })),
            "{twin:?}: {refused:?}"
        );
    }
    // What was refused left nothing behind.
    let left = store.read(move |conn| mappings::live(conn, b)).await.unwrap();
    assert_eq!(left, None);
    bind(&store, b, observed("bb", "/dev/y", 2, 11)).await.unwrap();
}

#[tokio::test]
async fn binding_again_changes_nothing_and_binding_another_releases_the_first() {
    let Opened { store, dir: _dir } = opened();
    let a = attaching(&store, "aa").await;
    let first = bind(&store, a, observed("aa", "/dev/x", 1, 10)).await.unwrap();
    assert_eq!(
        bind(&store, a, observed("aa", "/dev/x", 1, 10)).await.unwrap(),
        first
    );
    let second = bind(&store, a, observed("aa", "/dev/y", 2, 11)).await.unwrap();
    assert_ne!(first.id, second.id);
    // The same incarnation again, after it was released.
    let third = bind(&store, a, observed("aa", "/dev/x", 1, 10)).await.unwrap();
    assert_eq!(third.id, first.id);
    assert_eq!(store.read(mappings::all_live).await.unwrap().len(), 1);
}

#[tokio::test]
async fn mappings_of_another_boot_are_released_before_anything_is_bound() {
    let Opened { store, dir: _dir } = opened();
    let a = attaching(&store, "aa").await;
    bind(&store, a, observed("aa", "/dev/x", 1, 10)).await.unwrap();
    let released = store
        .write(|tx| mappings::release_other_boots(tx, "next boot"))
        .await
        .unwrap();
    assert_eq!(released, [a]);
    assert!(store.read(mappings::all_live).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_volume_has_one_open_operation() {
    let Opened { store, dir: _dir } = opened();
    let a = attaching(&store, "aa").await;
    let insert = async || {
        let asker = Asker {
            actor: "test".into(),
            request_id: None,
        };
        store
            .write(move |tx| operations::insert(tx, OperationId::new(), a, &Request::Detach {}, &asker))
            .await
    };
    insert().await.unwrap();
    assert!(matches!(insert().await, Err(StoreError::Conflict { .. })));
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_events_go_on() {
    let Opened { store, dir } = opened();
    let a = attaching(&store, "aa").await;
    let latest = *store.event_ids().borrow();
    assert!(latest > 0);
    store.close().await;
    assert!(matches!(
        store.write(|_| Ok::<_, StoreError>(())).await,
        Err(StoreError::Stopped)
    ));
    let store = Store::open(&dir.path().join("v.db")).unwrap();
    assert_eq!(*store.event_ids().borrow(), latest);
    let volume = store
        .read(move |conn| volumes::get(conn, a))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(volume.state, VolumeState::Attaching);
}

#[tokio::test]
async fn a_second_process_and_a_newer_or_foreign_file_are_refused() {
    let Opened { store, dir } = opened();
    let path = dir.path().join("v.db");
    assert!(matches!(Store::open(&path), Err(StoreError::InUse { .. })));
    store.close().await;
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Newer { found: 99, .. })
    ));

    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1")
        .unwrap();
    assert!(matches!(Store::open(&foreign), Err(StoreError::Foreign { .. })));
    let text = dir.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, but long enough to be looked at as one".repeat(20),
    )
    .unwrap();
    assert!(matches!(Store::open(&text), Err(StoreError::Foreign { .. })));
}

#[tokio::test]
async fn a_full_database_refuses_writes_cleanly_and_reads_go_on() {
    let Opened { store, dir: _dir } = opened();
    let a = attaching(&store, "aa").await;
    let limit = |pages: &'static str| {
        store.write(move |tx| {
            tx.query_row(pages, [], |_| Ok(()))?;
            Ok::<_, StoreError>(())
        })
    };
    limit("PRAGMA max_page_count = 1").await.unwrap();
    let big = "x".repeat(1 << 20);
    let write = async |value: String| store.write(move |tx| meta::get_or_set(tx, "big", &value)).await;
    assert!(matches!(write(big.clone()).await, Err(StoreError::Full(_))));
    assert!(
        store
            .read(move |conn| volumes::get(conn, a))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(store.read(|conn| meta::get(conn, "big")).await.unwrap(), None);
    limit("PRAGMA max_page_count = 1000000").await.unwrap();
    write(big).await.unwrap();
}

#[tokio::test]
async fn a_lease_has_one_writer() {
    let Opened { store, dir: _dir } = opened();
    let volume_id = attaching(&store, "aa").await;
    let take = async |access| {
        let new = leases::NewRow {
            volume_id,
            generation: 1,
            purpose: crate::model::LeasePurpose::Transfer,
            access,
            holder: "test".into(),
            detail: None,
            known_zero: false,
            ttl_seconds: 60,
        };
        store.write(move |tx| leases::insert(tx, &new)).await
    };
    use crate::model::LeaseAccess::{Read, Write};
    let first = take(Write).await.unwrap();
    assert!(matches!(take(Write).await, Err(StoreError::Conflict { .. })));
    take(Read).await.unwrap();
    assert!(
        store
            .write(move |tx| leases::release(tx, first.id, "done"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .write(move |tx| leases::release(tx, first.id, "again"))
            .await
            .unwrap()
    );
    take(Write).await.unwrap();
}

#[tokio::test]
async fn the_head_of_the_file_tells_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volumed.db");
    let store = Store::open(&path).unwrap();
    store.close().await;
    drop(store);
    let head = || std::fs::read(&path).unwrap();
    assert_eq!(
        judge_head(&head()),
        Ok(u32::try_from(super::schema::VERSION).unwrap())
    );
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA user_version = 9").unwrap();
    conn.close().unwrap();
    assert!(
        judge_head(&head())
            .unwrap_err()
            .contains("newer than this daemon's")
    );
    let other = Connection::open(dir.path().join("other")).unwrap();
    other
        .execute_batch("PRAGMA application_id = 7; PRAGMA user_version = 1")
        .unwrap();
    let theirs = std::fs::read(dir.path().join("other")).unwrap();
    assert!(judge_head(&theirs).unwrap_err().contains("is not volumed's"));
    assert!(judge_head(b"no database").is_err() && judge_head(&theirs[..40]).is_err());
}
