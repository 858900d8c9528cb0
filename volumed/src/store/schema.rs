//! The schema's version: a new database gets `schema.sql`, an older one is migrated, a newer one refused.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// The whole schema of the present version.
const SCHEMA: &str = include_str!("../../../schema.sql");

/// Step `n` takes a database from version `n + 1` to `n + 2`. Version 1 is the first.
const MIGRATIONS: &[&str] = &[
    "ALTER TABLE attachments ADD COLUMN baseline TEXT;
     ALTER TABLE attachments ADD COLUMN mark TEXT;
     CREATE TABLE disputed_plug_ins (boot_id TEXT NOT NULL, diskseq INTEGER NOT NULL, seen_at TEXT NOT NULL,
                                     PRIMARY KEY (boot_id, diskseq)) STRICT, WITHOUT ROWID;",
    include_str!("schema/to_version_3.sql"),
    "CREATE TABLE unproven_volumes (volume_id TEXT PRIMARY KEY REFERENCES volumes (id), recorded_state TEXT NOT NULL,
                                    since TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    include_str!("schema/to_version_5.sql"),
];

/// The version that this daemon writes.
#[allow(clippy::cast_possible_wrap)]
pub(super) const VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// Why a file is foreign that has not even SQLite's form.
pub(super) const NO_SQLITE: &str = "it is no SQLite file";

/// Marks the file as ours (`PRAGMA application_id`): "vold".
const APPLICATION_ID: i64 = 0x766f_6c64;

/// How many bytes of the file's beginning tell whose it is.
pub const HEAD: u64 = 100;

/// What the first [`HEAD`] bytes of a database's file tell, without opening it: the version of its schema, or why it
/// cannot be used (a clause about the file). The head is SQLite's own (sqlite.org/fileformat2.html, 1.3); a version that
/// only the write-ahead log has yet is not in it.
///
/// # Errors
/// Why this daemon cannot use the file.
pub fn judge_head(head: &[u8]) -> Result<u32, String> {
    let word = |at: usize| {
        head.get(at..at + 4)
            .and_then(|word| Some(u32::from_be_bytes(word.try_into().ok()?)))
    };
    if !head.starts_with(b"SQLite format 3\0") {
        return Err("is no SQLite file".to_owned());
    }
    match (word(60), word(68)) {
        (Some(0), Some(0)) => Ok(0),
        (Some(version), Some(application)) if i64::from(application) == APPLICATION_ID => {
            match i64::from(version) > VERSION {
                true => Err(format!(
                    "has schema version {version}, newer than this daemon's {VERSION}"
                )),
                false => Ok(version),
            }
        }
        (Some(_), Some(application)) => Err(format!(
            "is not volumed's: its application id is {application:#x}"
        )),
        _ => Err("is cut short".to_owned()),
    }
}

/// That the database is ours and not newer than this daemon; an empty one is not. Changes nothing.
pub(super) fn judge(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign {
        path: path.to_owned(),
        why,
    };
    let number = |pragma: &str| -> Result<i64, rusqlite::Error> {
        conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let application = match number("application_id") {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(foreign(NO_SQLITE.into()));
        }
        other => other?,
    };
    if application != APPLICATION_ID {
        return Err(foreign(format!("its application id is {application:#x}")));
    }
    match number("user_version")? {
        found if found > VERSION => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        found if found < 1 => Err(foreign(format!("its version is {found}"))),
        _ => Ok(()),
    }
}

/// Brings the database at `path` to the present version, in one transaction. Repeating it changes nothing; a crash in
/// the middle leaves the database as it was.
pub(super) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign {
        path: path.to_owned(),
        why,
    };
    // A table whose rules change is made anew, and others refer to it: they are checked at the end instead.
    conn.execute_batch("PRAGMA foreign_keys = OFF;")?;
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => foreign(NO_SQLITE.into()),
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
            if done < MIGRATIONS.len() {
                require_no_dangling_row(&tx)?;
            }
        }
    }
    tx.execute_batch(&format!(
        "PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION_ID};"
    ))?;
    tx.commit()?;
    Ok(())
}

/// That every row refers to a row that there is.
fn require_no_dangling_row(conn: &Connection) -> Result<(), StoreError> {
    let dangling: i64 = conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0))?;
    match dangling {
        0 => Ok(()),
        n => Err(StoreError::Stale(format!(
            "{n} rows of the database refer to rows that there are not"
        ))),
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
