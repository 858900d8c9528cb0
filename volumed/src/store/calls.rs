//! Calls to the cloud, recorded before they are sent.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx};
use crate::model::{OperationId, VolumeId};

/// A call as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// The job id that we chose.
    pub id: String,
    /// When it was recorded, just before it was sent.
    pub sent_at: Timestamp,
    /// Until when it may still land, where it has no outcome.
    pub expires_at: Timestamp,
    /// What came of it, once that is known.
    pub outcome: Option<String>,
    /// When that became known.
    pub answered_at: Option<Timestamp>,
}

/// Records that a call is about to be sent.
pub fn record(
    tx: &Tx<'_>,
    operation: OperationId,
    step: &str,
    id: &str,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO cloud_calls (id, operation_id, step, sent_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            id,
            operation.to_string(),
            step,
            tx.now().to_string(),
            expires_at.to_string()
        ],
    )?;
    Ok(())
}

/// Records what came of a call.
pub fn answer(tx: &Tx<'_>, id: &str, outcome: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE cloud_calls SET outcome = ?2, answered_at = ?3 WHERE id = ?1",
        params![id, outcome, tx.now().to_string()],
    )?;
    Ok(())
}

/// Records that a call whose outcome nobody knows may land until `expires_at`.
pub fn doubt(tx: &Tx<'_>, id: &str, expires_at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE cloud_calls SET expires_at = ?2 WHERE id = ?1 AND outcome IS NULL",
        params![id, expires_at.to_string()],
    )?;
    Ok(())
}

/// Records that every call which a crash cut short may land until `expires_at`: when it was last tried is not known.
pub fn doubt_all_open(tx: &Tx<'_>, expires_at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE cloud_calls SET expires_at = ?1 WHERE outcome IS NULL
           AND operation_id IN (SELECT id FROM operations WHERE completed_at IS NULL)",
        params![expires_at.to_string()],
    )?;
    Ok(())
}

/// A call that has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// The job id that we chose.
    pub id: String,
    /// The operation that sent it.
    pub operation: OperationId,
    /// The step that sent it.
    pub step: String,
    /// Until when it may still land.
    pub expires_at: Timestamp,
}

/// The calls about the volume, of whatever operation, that have no outcome yet, oldest first.
pub fn open_for(conn: &Connection, volume: VolumeId) -> Result<Vec<OpenCall>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT c.id, c.operation_id, c.step, c.expires_at FROM cloud_calls c
         JOIN operations o ON o.id = c.operation_id
         WHERE o.volume_id = ?1 AND c.outcome IS NULL ORDER BY c.rowid",
    )?;
    let rows = statement.query_map([volume.to_string()], |row| {
        Ok(OpenCall {
            id: row.get("id")?,
            operation: parsed(row, "operation_id")?,
            step: row.get("step")?,
            expires_at: parsed(row, "expires_at")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many calls of open operations have no outcome yet, and when the first of them was sent.
pub fn unanswered(conn: &Connection) -> Result<(u64, Option<Timestamp>), StoreError> {
    let sql = "SELECT count(*) AS count, min(c.sent_at) AS sent_at FROM cloud_calls c
               JOIN operations o ON o.id = c.operation_id WHERE c.outcome IS NULL AND o.completed_at IS NULL";
    Ok(conn.query_row(sql, [], |row| {
        Ok((row.get("count")?, parsed_opt(row, "sent_at")?))
    })?)
}

/// The latest call of a step.
pub fn latest(
    conn: &Connection,
    operation: OperationId,
    step: &str,
) -> Result<Option<CallRecord>, StoreError> {
    let sql = "SELECT * FROM cloud_calls WHERE operation_id = ?1 AND step = ?2 ORDER BY rowid DESC LIMIT 1";
    let row = conn.query_row(sql, params![operation.to_string(), step], |row| {
        Ok(CallRecord {
            id: row.get("id")?,
            sent_at: parsed(row, "sent_at")?,
            expires_at: parsed(row, "expires_at")?,
            outcome: row.get("outcome")?,
            answered_at: parsed_opt(row, "answered_at")?,
        })
    });
    Ok(row.optional()?)
}
