//! Calls to the cloud, recorded before they are sent.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::row::parsed;
use super::{StoreError, Tx};
use crate::model::{OperationId, VolumeId};

/// A call as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// The job id that we chose.
    pub id: String,
    /// Until when it may still land, where it has no outcome.
    pub expires_at: Timestamp,
    /// What came of it, once that is known.
    pub outcome: Option<String>,
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

/// Until when a call about the volume, of whatever operation, may still land; `None` where every call has an outcome.
pub fn in_doubt_until(
    conn: &Connection,
    volume: VolumeId,
) -> Result<Option<(String, Timestamp)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT c.step, c.expires_at FROM cloud_calls c JOIN operations o ON o.id = c.operation_id
         WHERE o.volume_id = ?1 AND c.outcome IS NULL",
    )?;
    let rows = statement.query_map([volume.to_string()], |row| {
        Ok((row.get::<_, String>("step")?, parsed(row, "expires_at")?))
    })?;
    let open: Vec<(String, Timestamp)> = rows.collect::<Result<_, _>>()?;
    Ok(open.into_iter().max_by_key(|(_, expires_at)| *expires_at))
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
            expires_at: parsed(row, "expires_at")?,
            outcome: row.get("outcome")?,
        })
    });
    Ok(row.optional()?)
}
