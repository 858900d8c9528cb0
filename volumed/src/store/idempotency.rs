//! Idempotency keys: the same key and body get the same resource again.

use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, Tx};

/// What a key led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedResource {
    /// An operation.
    Operation,
    /// A lease.
    Lease,
    /// A finding.
    Finding,
}

impl KeyedResource {
    fn as_str(self) -> &'static str {
        match self {
            KeyedResource::Operation => "operation",
            KeyedResource::Lease => "lease",
            KeyedResource::Finding => "finding",
        }
    }
}

/// A key together with a digest of the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key as the client sent it.
    pub key: String,
    /// A digest of method, path and body.
    pub request_hash: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// It was never used.
    New,
    /// It was used for this very request; the resource's id follows.
    Same(String),
    /// It was used for another request.
    Other,
}

/// What is known of `key`.
pub fn look_up(conn: &Connection, key: &Key, resource: KeyedResource) -> Result<Replay, StoreError> {
    let sql = "SELECT request_hash, resource, resource_id FROM idempotency_keys WHERE key = ?1";
    let row: Option<(String, String, String)> = conn
        .query_row(sql, [&key.key], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    Ok(match row {
        None => Replay::New,
        Some((hash, kind, id)) if hash == key.request_hash && kind == resource.as_str() => Replay::Same(id),
        Some(_) => Replay::Other,
    })
}

/// Records what `key` led to.
pub fn record(tx: &Tx<'_>, key: &Key, resource: KeyedResource, id: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO idempotency_keys (key, request_hash, resource, resource_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            key.key,
            key.request_hash,
            resource.as_str(),
            id,
            tx.now().to_string()
        ],
    )?;
    Ok(())
}
