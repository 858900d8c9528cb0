//! The atomic mapping: one volume, one device, in one transaction, whatever crashes when.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::parsed;
use super::{AttachmentRecord, StoreError, Tx, attachments, events, volumes};
use crate::model::{AttachmentState, Bytes, EventKind, Identity, VolumeId, VolumeState};

/// A mapping as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRecord {
    /// Its row.
    pub id: i64,
    /// The attachment that it belongs to.
    pub attachment_id: i64,
    /// The volume.
    pub volume_id: VolumeId,
    /// What was observed when it was bound.
    pub observed: Observation,
    /// When it was bound.
    pub bound_at: Timestamp,
}

/// What [`Observation::written_sectors`] says where the kernel does not count: it never proves that nothing was written.
pub const NOT_COUNTED: u64 = u64::MAX >> 1;

/// What was observed of a device through its own descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The identity that it carries.
    pub identity: Identity,
    /// The boot in which it was seen.
    pub boot_id: String,
    /// Which disk since boot it is.
    pub diskseq: Option<u64>,
    /// Its size.
    pub size: Bytes,
    /// Its node.
    pub device_path: String,
    /// Its device number, `major:minor`.
    pub devnum: String,
    /// How many sectors had been written to it by then, or [`NOT_COUNTED`].
    pub written_sectors: u64,
}

fn read(row: &Row<'_>) -> rusqlite::Result<MappingRecord> {
    Ok(MappingRecord {
        id: row.get("id")?,
        attachment_id: row.get("attachment_id")?,
        volume_id: parsed(row, "volume_id")?,
        observed: Observation {
            identity: parsed(row, "identity")?,
            boot_id: row.get("boot_id")?,
            diskseq: row.get("diskseq")?,
            size: Bytes(row.get("size_bytes")?),
            device_path: row.get("device_path")?,
            devnum: row.get("devnum")?,
            written_sectors: row.get("written_sectors")?,
        },
        bound_at: parsed(row, "bound_at")?,
    })
}

/// Binds the device that was observed to the volume: mapping, attachment and volume state change together.
///
/// An older live mapping of the same volume is released in the same transaction. Repeating it with the same observation
/// changes nothing.
///
/// # Errors
/// [`StoreError::Conflict`] where another volume holds the path, the device number, the identity or the incarnation;
/// [`StoreError::Stale`] where the attachment has ended meanwhile.
pub fn bind(tx: &Tx<'_>, volume: VolumeId, observed: &Observation) -> Result<MappingRecord, StoreError> {
    let attachment = bindable(tx, volume)?;
    if let Some(standing) = live(tx, volume)? {
        if is_same(&standing.observed, observed) && standing.attachment_id == attachment.id {
            set_attached(tx, volume, attachment.id)?;
            return Ok(standing);
        }
        release(tx, volume, "bound anew")?;
        // The count of writes begins anew with the new mapping; what was written under the old one is not known.
        volumes::mark_written(tx, volume)?;
    }
    let reborn = tx.execute(
        "UPDATE mappings SET attachment_id = ?3, identity = ?4, size_bytes = ?5, device_path = ?6, devnum = ?7,
                written_sectors = ?8, bound_at = ?9, released_at = NULL
         WHERE boot_id = ?1 AND diskseq = ?2 AND volume_id = ?10",
        params![
            observed.boot_id,
            observed.diskseq,
            attachment.id,
            observed.identity.to_string(),
            observed.size.0,
            observed.device_path,
            observed.devnum,
            observed.written_sectors,
            tx.now().to_string(),
            volume.to_string(),
        ],
    )?;
    if reborn == 0 {
        insert(tx, volume, attachment.id, observed)?;
    } else {
        volumes::mark_written(tx, volume)?;
    }
    set_attached(tx, volume, attachment.id)?;
    let data = serde_json::json!({ "bound": true, "device_path": observed.device_path, "diskseq": observed.diskseq });
    events::append(tx, EventKind::Mapping, Some(volume), None, &data)?;
    live(tx, volume)?.ok_or_else(|| StoreError::Stale(format!("volume {volume} has no mapping")))
}

fn bindable(tx: &Tx<'_>, volume: VolumeId) -> Result<AttachmentRecord, StoreError> {
    let attachment = attachments::live(tx, volume)?;
    attachment
        .filter(|a| matches!(a.state, AttachmentState::Attaching | AttachmentState::Attached))
        .ok_or_else(|| StoreError::Stale(format!("volume {volume} is no longer being attached")))
}

fn is_same(a: &Observation, b: &Observation) -> bool {
    let incarnation = |o: &Observation| {
        (
            o.boot_id.clone(),
            o.diskseq,
            o.devnum.clone(),
            o.device_path.clone(),
        )
    };
    incarnation(a) == incarnation(b) && a.identity == b.identity && a.size == b.size
}

fn set_attached(tx: &Tx<'_>, volume: VolumeId, attachment: i64) -> Result<(), StoreError> {
    attachments::set_state(tx, attachment, AttachmentState::Attached)?;
    volumes::set_state(tx, volume, VolumeState::InUse)
}

fn insert(tx: &Tx<'_>, volume: VolumeId, attachment: i64, observed: &Observation) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO mappings (attachment_id, volume_id, identity, boot_id, diskseq, size_bytes, device_path, devnum,
                               written_sectors, bound_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            attachment,
            volume.to_string(),
            observed.identity.to_string(),
            observed.boot_id,
            observed.diskseq,
            observed.size.0,
            observed.device_path,
            observed.devnum,
            observed.written_sectors,
            tx.now().to_string(),
        ],
    )?;
    Ok(())
}

/// Releases the volume's live mapping, if it has one: nobody is told of that device any more.
pub fn release(tx: &Tx<'_>, volume: VolumeId, why: &str) -> Result<(), StoreError> {
    let released = tx.execute(
        "UPDATE mappings SET released_at = ?2 WHERE volume_id = ?1 AND released_at IS NULL",
        params![volume.to_string(), tx.now().to_string()],
    )?;
    if released > 0 {
        let data = serde_json::json!({ "bound": false, "why": why });
        events::append(tx, EventKind::Mapping, Some(volume), None, &data)?;
    }
    Ok(())
}

/// Records a new size of the device that is mapped.
pub fn set_size(tx: &Tx<'_>, volume: VolumeId, size: Bytes) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE mappings SET size_bytes = ?2 WHERE volume_id = ?1 AND released_at IS NULL",
        params![volume.to_string(), size.0],
    )?;
    Ok(())
}

/// The latest mapping of an attachment, live or released.
pub fn latest_of(conn: &Connection, attachment: i64) -> Result<Option<MappingRecord>, StoreError> {
    let sql = "SELECT * FROM mappings WHERE attachment_id = ?1 ORDER BY id DESC LIMIT 1";
    Ok(conn.query_row(sql, [attachment], read).optional()?)
}

/// The volume's live mapping.
pub fn live(conn: &Connection, volume: VolumeId) -> Result<Option<MappingRecord>, StoreError> {
    let sql = "SELECT * FROM mappings WHERE volume_id = ?1 AND released_at IS NULL";
    Ok(conn.query_row(sql, [volume.to_string()], read).optional()?)
}

/// Every live mapping, oldest first.
pub fn all_live(conn: &Connection) -> Result<Vec<MappingRecord>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT * FROM mappings WHERE released_at IS NULL ORDER BY id")?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Releases every live mapping that was bound in another boot and returns their volumes: after a reboot every name and
/// number may belong to another disk.
pub fn release_other_boots(tx: &Tx<'_>, boot_id: &str) -> Result<Vec<VolumeId>, StoreError> {
    let stale: Vec<_> = all_live(tx)?
        .into_iter()
        .filter(|m| m.observed.boot_id != boot_id)
        .collect();
    for mapping in &stale {
        release(tx, mapping.volume_id, "the machine was rebooted")?;
    }
    Ok(stale.into_iter().map(|m| m.volume_id).collect())
}
