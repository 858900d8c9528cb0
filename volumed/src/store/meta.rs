//! Facts about this installation.

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, Tx};

/// The value under `key`, if it was ever set.
pub fn get(conn: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    let value = conn
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0))
        .optional()?;
    Ok(value)
}

/// Sets the value under `key` unless it has one, and returns the one that stands.
pub fn get_or_set(tx: &Tx<'_>, key: &str, value: &str) -> Result<String, StoreError> {
    tx.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        [key, value],
    )?;
    let stands = tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0))?;
    Ok(stands)
}

/// Sets the value under `key`, whatever it was.
pub fn replace(conn: &Connection, key: &str, value: &str) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
        [key, value],
    )?;
    Ok(())
}

/// Takes the value under `key` away.
pub fn remove(conn: &Connection, key: &str) -> Result<(), StoreError> {
    conn.execute("DELETE FROM meta WHERE key = ?1", [key])?;
    Ok(())
}
