//! What the writer does when the database, or a change, fails under it.

use std::time::Duration;

use rusqlite::ffi;
use tokio::time::timeout;

use crate::store::{Store, StoreError, meta};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("test.db")).unwrap();
    (dir, store)
}

async fn ends(store: &Store) -> bool {
    timeout(Duration::from_secs(10), store.failed()).await.is_ok()
}

#[tokio::test]
async fn an_io_error_inside_a_change_ends_the_daemon_as_one_at_the_commit_does() {
    let (_dir, store) = store();
    let failed = store
        .write(|_| {
            let code = ffi::Error::new(ffi::SQLITE_IOERR_WRITE);
            Err::<(), StoreError>(rusqlite::Error::SqliteFailure(code, None).into())
        })
        .await;
    assert!(failed.is_err_and(|error| error.is_fatal()));
    assert!(ends(&store).await);
    let later = store.write(|tx| meta::get_or_set(tx, "key", "value")).await;
    assert!(matches!(later, Err(StoreError::Stopped)));
}

#[tokio::test]
async fn a_panic_in_a_change_ends_the_daemon_and_leaves_nothing_behind() {
    let (dir, store) = store();
    let failed = store
        .write(|tx| {
            meta::get_or_set(tx, "key", "half")?;
            assert!(tx.is_autocommit(), "a transaction is open, so this panics");
            Ok::<_, StoreError>(())
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Stopped)));
    assert!(ends(&store).await);
    store.close().await;
    let again = Store::open(&dir.path().join("test.db")).unwrap();
    assert_eq!(again.read(|conn| meta::get(conn, "key")).await.unwrap(), None);
}
