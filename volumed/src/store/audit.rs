//! The audit trail: who did what and why, only ever appended to.

use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx};
use crate::model::{OperationId, VolumeId};

/// One line of the audit trail.
#[derive(Debug, Clone, Default)]
pub struct AuditEntry<'a> {
    /// Who.
    pub actor: &'a str,
    /// What: `bind`, `release`, `delete`, `lease_lapsed`, …
    pub action: &'a str,
    /// The volume that it is about.
    pub volume_id: Option<VolumeId>,
    /// The operation that it belongs to.
    pub operation_id: Option<OperationId>,
    /// Why, with the evidence.
    pub why: Option<&'a str>,
    /// What stood before.
    pub before: Option<&'a str>,
    /// What stands after.
    pub after: Option<&'a str>,
}

/// Records a line.
pub fn append(tx: &Tx<'_>, entry: &AuditEntry<'_>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO audit (at, actor, action, volume_id, operation_id, why, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            tx.now().to_string(),
            entry.actor,
            entry.action,
            entry.volume_id.map(|id| id.to_string()),
            entry.operation_id.map(|id| id.to_string()),
            entry.why,
            entry.before,
            entry.after
        ],
    )?;
    Ok(())
}

/// A line as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// The volume that it is about.
    pub volume_id: Option<VolumeId>,
    /// The operation that it belongs to.
    pub operation_id: Option<OperationId>,
    /// Why.
    pub why: Option<String>,
    /// What stood before.
    pub before: Option<String>,
    /// What stands after.
    pub after: Option<String>,
}

/// At most `limit` lines, newest first, of this volume where one is named, before the line `before`.
pub fn list(
    conn: &Connection,
    volume: Option<VolumeId>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM audit
         WHERE (:volume IS NULL OR volume_id = :volume) AND (:before IS NULL OR id < :before)
         ORDER BY id DESC LIMIT :limit",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":volume": volume.map(|id| id.to_string()),
            ":before": before,
            ":limit": limit,
        },
        |row| {
            Ok(AuditRecord {
                id: row.get("id")?,
                at: parsed(row, "at")?,
                actor: row.get("actor")?,
                action: row.get("action")?,
                volume_id: parsed_opt(row, "volume_id")?,
                operation_id: parsed_opt(row, "operation_id")?,
                why: row.get("why")?,
                before: row.get("before")?,
                after: row.get("after")?,
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}
