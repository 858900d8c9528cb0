//! Tokens: the hash of each secret, what it lets do, and until when.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx};
use crate::model::Scope;

/// A token that was not revoked. It may have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What stands in the secret, to find it.
    pub id: String,
    /// Its name, unlike that of any other that was not revoked.
    pub name: String,
    /// What it lets do.
    pub scope: Scope,
    /// The hash of its secret.
    pub hash: Vec<u8>,
    /// That of the secret before the last rotation.
    pub former_hash: Option<Vec<u8>>,
    /// How long that one works.
    pub former_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it last got another secret.
    pub rotated_at: Option<Timestamp>,
    /// Until when it works.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to some minutes.
    pub last_used_at: Option<Timestamp>,
}

/// What a new token takes.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// What stands in the secret.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it lets do.
    pub scope: Scope,
    /// The hash of its secret.
    pub hash: [u8; 32],
    /// Who makes it.
    pub created_by: String,
    /// Until when it works.
    pub expires_at: Option<Timestamp>,
}

/// Records a token. A conflict where another of this name was not revoked.
pub fn insert(tx: &Tx<'_>, new: &NewRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tokens (id, name, scope, hash, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.id,
            new.name,
            new.scope.as_str(),
            new.hash,
            tx.now().to_string(),
            new.created_by,
            new.expires_at.map(|at| at.to_string()),
        ],
    )?;
    Ok(())
}

/// Gives it another secret; the one of now works until `former_until`.
pub fn rotate(tx: &Tx<'_>, id: &str, hash: &[u8; 32], former_until: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET former_hash = hash, former_until = ?3, hash = ?2, rotated_at = ?4 WHERE id = ?1",
        params![id, hash, former_until.to_string(), tx.now().to_string()],
    )?;
    Ok(())
}

/// Ends it for ever. Its row stays; its name is free again.
pub fn revoke(tx: &Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        params![id, tx.now().to_string()],
    )?;
    Ok(())
}

/// Notes that it was used now.
pub fn touch(tx: &Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1",
        params![id, tx.now().to_string()],
    )?;
    Ok(())
}

/// The one with this id, unless it was revoked.
pub fn by_id(conn: &Connection, id: &str) -> Result<Option<TokenRecord>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM tokens WHERE id = ?1 AND revoked_at IS NULL")?;
    Ok(statement.query_row([id], read).optional()?)
}

/// The one of this name, unless it was revoked.
pub fn by_name(conn: &Connection, name: &str) -> Result<Option<TokenRecord>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM tokens WHERE name = ?1 AND revoked_at IS NULL")?;
    Ok(statement.query_row([name], read).optional()?)
}

/// All that were not revoked, by name.
pub fn all(conn: &Connection) -> Result<Vec<TokenRecord>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM tokens WHERE revoked_at IS NULL ORDER BY name")?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get("id")?,
        name: row.get("name")?,
        scope: parsed(row, "scope")?,
        hash: row.get("hash")?,
        former_hash: row.get("former_hash")?,
        former_until: parsed_opt(row, "former_until")?,
        created_at: parsed(row, "created_at")?,
        created_by: row.get("created_by")?,
        rotated_at: parsed_opt(row, "rotated_at")?,
        expires_at: parsed_opt(row, "expires_at")?,
        last_used_at: parsed_opt(row, "last_used_at")?,
    })
}
