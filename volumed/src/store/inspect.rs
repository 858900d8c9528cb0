//! A look at a database's files that changes none of them: whose they are, and whether they are whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::ffi;

use super::beside::log_of;
use super::{StoreError, log, open_reader, schema};

/// How thoroughly the pages are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every page is of the form that it must have: at each start.
    Pages,
    /// Each index fits its table, too, and each reference leads somewhere.
    Everything,
}

/// Judges the database at `path` by a connection that cannot write, so that whatever is found it stays as it is to the bit.
///
/// # Errors
/// [`StoreError::Damaged`], [`StoreError::Foreign`] or [`StoreError::Newer`]; [`StoreError::Open`] where there is nothing to look at.
pub(super) fn inspect(path: &Path, depth: Depth) -> Result<Connection, StoreError> {
    look(path, depth).map_err(|error| error.naming(path))
}

fn look(path: &Path, depth: Depth) -> Result<Connection, StoreError> {
    let open_error = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(open_error)?.len();
    if size == 0 {
        return Err(damaged(path, "the file is empty"));
    }
    match fs::read(log_of(path)) {
        Ok(bytes) => {
            if let Some(what) = log::damage(&bytes) {
                return Err(damaged(path, &format!("its write-ahead log is damaged: {what}")));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(open_error(source)),
    }
    let conn = open_reader(path)?;
    schema::judge(&conn, path)?;
    let pragma = match depth {
        Depth::Pages => "PRAGMA quick_check(1)",
        Depth::Everything => "PRAGMA integrity_check(1)",
    };
    let found: String = conn.query_row(pragma, [], |row| row.get(0))?;
    if found != "ok" {
        return Err(damaged(path, &found));
    }
    if depth == Depth::Everything
        && let Some(table) = broken_reference(&conn)?
    {
        return Err(damaged(
            path,
            &format!("a row of `{table}` refers to a row that there is not"),
        ));
    }
    Ok(conn)
}

fn broken_reference(conn: &Connection) -> Result<Option<String>, StoreError> {
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// That the database at `path` is damaged, and how.
pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    let damage = ffi::Error::new(ffi::SQLITE_CORRUPT);
    let lines = what.lines().filter(|line| !line.starts_with("***"));
    let what = lines.collect::<Vec<_>>().join("; ");
    StoreError::Damaged {
        path: path.to_owned(),
        source: rusqlite::Error::SqliteFailure(damage, Some(what)),
    }
}
