//! Events: recorded in the transaction of the change that they tell of, so none is lost and none is told early.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::row::{json, parsed, parsed_opt};
use super::{StoreError, Tx};
use crate::model::{EventKind, OperationId, VolumeId};

/// How many events are kept for clients that come back.
const KEPT: i64 = 100_000;

/// An event as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Its number.
    pub id: i64,
    /// What it tells.
    pub kind: EventKind,
    /// The volume that it is about.
    pub volume_id: Option<VolumeId>,
    /// The operation that it is about.
    pub operation_id: Option<OperationId>,
    /// The facts.
    pub data: Value,
    /// When it was recorded.
    pub at: Timestamp,
}

/// Records an event. Old ones are dropped from time to time.
pub fn append(
    tx: &Tx<'_>,
    kind: EventKind,
    volume: Option<VolumeId>,
    operation: Option<OperationId>,
    data: &Value,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO events (kind, volume_id, operation_id, data, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            kind.as_str(),
            volume.map(|id| id.to_string()),
            operation.map(|id| id.to_string()),
            data.to_string(),
            tx.now().to_string()
        ],
    )?;
    let id = tx.last_insert_rowid();
    if id % 1000 == 0 {
        tx.execute("DELETE FROM events WHERE id <= ?1", [id - KEPT])?;
    }
    tx.told(EventRecord {
        id,
        kind,
        volume_id: volume,
        operation_id: operation,
        data: data.clone(),
        at: tx.now(),
    });
    Ok(())
}

/// At most `limit` events after `after`, oldest first.
pub fn after(conn: &Connection, after: i64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(EventRecord {
            id: row.get("id")?,
            kind: parsed(row, "kind")?,
            volume_id: parsed_opt(row, "volume_id")?,
            operation_id: parsed_opt(row, "operation_id")?,
            data: json(row, "data")?,
            at: parsed(row, "at")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
