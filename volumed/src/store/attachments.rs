//! The rows of attachments.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx, volumes};
use crate::model::{AttachmentState, Incarnation, VolumeId};

/// An attachment as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRecord {
    /// Its row.
    pub id: i64,
    /// The volume.
    pub volume_id: VolumeId,
    /// The VM.
    pub vm_id: String,
    /// Which attachment of the volume it is.
    pub generation: u64,
    /// Where it is in its life.
    pub state: AttachmentState,
    /// When the device was bound.
    pub attached_at: Option<Timestamp>,
    /// The newest disk of this machine before the attach was sent, where its device is told by its appearance.
    pub baseline: Option<Incarnation>,
    /// What told it from other attachments in the cloud when its device was bound.
    pub mark: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<AttachmentRecord> {
    Ok(AttachmentRecord {
        id: row.get("id")?,
        volume_id: parsed(row, "volume_id")?,
        vm_id: row.get("vm_id")?,
        generation: row.get("generation")?,
        state: parsed(row, "state")?,
        attached_at: parsed_opt(row, "attached_at")?,
        baseline: parsed_opt(row, "baseline")?,
        mark: row.get("mark")?,
    })
}

/// The volume's attachment that has not ended.
pub fn live(conn: &Connection, volume: VolumeId) -> Result<Option<AttachmentRecord>, StoreError> {
    let sql = "SELECT * FROM attachments WHERE volume_id = ?1 AND ended_at IS NULL";
    Ok(conn.query_row(sql, [volume.to_string()], read).optional()?)
}

/// Every attachment that has not ended.
pub fn all_live(conn: &Connection) -> Result<Vec<AttachmentRecord>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT * FROM attachments WHERE ended_at IS NULL ORDER BY id")?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reserves an attachment to `vm` with the next generation. Repeating it returns the one that stands.
pub fn reserve(tx: &Tx<'_>, volume: VolumeId, vm: &str) -> Result<AttachmentRecord, StoreError> {
    if let Some(standing) = live(tx, volume)? {
        return match standing.vm_id == vm {
            true => Ok(standing),
            false => Err(StoreError::Stale(format!(
                "volume {volume} has an attachment to VM {}",
                standing.vm_id
            ))),
        };
    }
    let generation = volumes::next_generation(tx, volume)?;
    tx.execute(
        "INSERT INTO attachments (volume_id, vm_id, generation, state, created_at) VALUES (?1, ?2, ?3, 'attaching', ?4)",
        params![volume.to_string(), vm, generation, tx.now().to_string()],
    )?;
    live(tx, volume)?.ok_or_else(|| StoreError::Stale(format!("volume {volume} has no attachment")))
}

/// The attachments that have not ended of the volumes from `first` to `last`, both included.
pub fn live_between(
    conn: &Connection,
    first: VolumeId,
    last: VolumeId,
) -> Result<Vec<AttachmentRecord>, StoreError> {
    let mut statement = conn
        .prepare_cached("SELECT * FROM attachments WHERE ended_at IS NULL AND volume_id BETWEEN ?1 AND ?2")?;
    let rows = statement.query_map([first.to_string(), last.to_string()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes the newest disk before the attach is sent. The first note stays: what came after it may be the device.
pub fn note_baseline(tx: &Tx<'_>, id: i64, newest: &Incarnation) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE attachments SET baseline = coalesce(baseline, ?2) WHERE id = ?1 AND ended_at IS NULL",
        params![id, newest.to_string()],
    )?;
    Ok(())
}

/// Notes what tells the volume's live attachment from others in the cloud.
pub fn set_mark(tx: &Tx<'_>, volume: VolumeId, mark: Option<&str>) -> Result<(), StoreError> {
    let sql = "UPDATE attachments SET mark = ?2 WHERE volume_id = ?1 AND ended_at IS NULL";
    tx.execute(sql, params![volume.to_string(), mark])?;
    Ok(())
}

/// Takes an attachment to `next`; `attached` and `detached` note when.
pub fn set_state(tx: &Tx<'_>, id: i64, next: AttachmentState) -> Result<(), StoreError> {
    let now = tx.now().to_string();
    let attached = (next == AttachmentState::Attached).then_some(&now);
    let ended = (next == AttachmentState::Detached).then_some(&now);
    tx.execute(
        "UPDATE attachments SET state = ?2, attached_at = coalesce(attached_at, ?3), ended_at = ?4
         WHERE id = ?1 AND ended_at IS NULL",
        params![id, next.as_str(), attached, ended],
    )?;
    Ok(())
}
