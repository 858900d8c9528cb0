//! The schema's version: a new database gets `schema.sql`, an older one is migrated, a newer one refused.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// The whole schema of the present version.
const SCHEMA: &str = include_str!("../../../schema.sql");

/// Step `n` takes a database from version `n + 1` to `n + 2`. Version 1 is the first.
const MIGRATIONS: &[&str] = &[];

/// The version that this daemon writes.
#[allow(clippy::cast_possible_wrap)]
pub(super) const VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// Marks the file as ours (`PRAGMA application_id`): "vold".
const APPLICATION_ID: i64 = 0x766f_6c64;

/// Brings the database at `path` to the present version, in one transaction. Repeating it changes nothing; a crash in
/// the middle leaves the database as it was.
pub(super) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign {
        path: path.to_owned(),
        why,
    };
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => foreign("it is no SQLite file".into()),
            _ => e.into(),
        })?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let application: i64 = tx.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    match version {
        0 if tables == 0 => tx.execute_batch(SCHEMA)?,
        _ if application != APPLICATION_ID => {
            return Err(foreign(format!("its application id is {application:#x}")));
        }
        found if found > VERSION => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
        found => {
            let done = usize::try_from(found - 1).map_err(|_| foreign(format!("its version is {found}")))?;
            for step in MIGRATIONS.iter().skip(done) {
                tx.execute_batch(step)?;
            }
        }
    }
    tx.execute_batch(&format!(
        "PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION_ID};"
    ))?;
    tx.commit()?;
    Ok(())
}
