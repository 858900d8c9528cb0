//! The rows of snapshots.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::parsed;
use super::{StoreError, Tx};
use crate::model::{Bytes, SnapshotId, SnapshotState, VolumeId};

/// A snapshot as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: SnapshotId,
    /// The volume that it is of.
    pub volume_id: VolumeId,
    /// Its name.
    pub name: String,
    /// The volume's size when it was taken.
    pub size: Bytes,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// The provider's own id for it.
    pub snapshot_ref: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

fn read(row: &Row<'_>) -> rusqlite::Result<SnapshotRecord> {
    Ok(SnapshotRecord {
        id: parsed(row, "id")?,
        volume_id: parsed(row, "volume_id")?,
        name: row.get("name")?,
        size: Bytes(row.get("size_bytes")?),
        state: parsed(row, "state")?,
        snapshot_ref: row.get("snapshot_ref")?,
        created_at: parsed(row, "created_at")?,
    })
}

/// Records a new snapshot in state `creating`.
pub fn insert(
    tx: &Tx<'_>,
    id: SnapshotId,
    volume: VolumeId,
    name: &str,
    size: Bytes,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO snapshots (id, volume_id, name, size_bytes, state, created_at)
         VALUES (?1, ?2, ?3, ?4, 'creating', ?5)",
        params![
            id.to_string(),
            volume.to_string(),
            name,
            size.0,
            tx.now().to_string()
        ],
    )?;
    Ok(())
}

/// The snapshot with this id, deleted ones included.
pub fn get(conn: &Connection, id: SnapshotId) -> Result<Option<SnapshotRecord>, StoreError> {
    Ok(conn
        .query_row("SELECT * FROM snapshots WHERE id = ?1", [id.to_string()], read)
        .optional()?)
}

/// The volume's snapshots that are not deleted, oldest first.
pub fn of_volume(conn: &Connection, volume: VolumeId) -> Result<Vec<SnapshotRecord>, StoreError> {
    let sql = "SELECT * FROM snapshots WHERE volume_id = ?1 AND state <> 'deleted' ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([volume.to_string()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes a snapshot to `state`.
pub fn set_state(tx: &Tx<'_>, id: SnapshotId, state: SnapshotState) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE snapshots SET state = ?2 WHERE id = ?1",
        params![id.to_string(), state.as_str()],
    )?;
    Ok(())
}

/// Records what the provider told of a snapshot; it is then ready.
pub fn set_taken(tx: &Tx<'_>, id: SnapshotId, snapshot_ref: &str, size: Bytes) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE snapshots SET snapshot_ref = ?2, size_bytes = ?3, state = 'ready' WHERE id = ?1",
        params![id.to_string(), snapshot_ref, size.0],
    )?;
    Ok(())
}
