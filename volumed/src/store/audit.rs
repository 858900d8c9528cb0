//! The audit trail: who did what and why, only ever appended to.

use rusqlite::params;

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
