//! The rows of volumes.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx, events};
use crate::model::{
    Bytes, DeviceExpectation, EventKind, Identity, Incarnation, SourceDisk, VolumeId, VolumeState,
};

/// A volume as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its id.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// Where it is in its life.
    pub state: VolumeState,
    /// Who keeps it.
    pub provider: String,
    /// The keeper's own id for it.
    pub provider_ref: Option<String>,
    /// What its device will carry.
    pub identity: Option<Identity>,
    /// The source disk that it is for.
    pub source: Option<SourceDisk>,
    /// Of its latest attachment; 0 before the first.
    pub generation: u64,
    /// The provider promised that it reads as zeroes when new.
    pub fresh_zero: bool,
    /// A writer was let at it.
    pub written: bool,
    /// Its path was shown to somebody.
    pub handed_out: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl VolumeRecord {
    /// What a device must be to be this volume's; `None` before the provider told its identity.
    #[must_use]
    pub fn expectation(&self) -> Option<DeviceExpectation> {
        let identity = self.identity.clone()?;
        Some(DeviceExpectation {
            identity,
            size: self.size,
        })
    }
}

/// Which volumes a list is of. Deleted ones are never listed.
#[derive(Debug, Clone, Default)]
pub struct VolumeFilter {
    /// Only in this state.
    pub state: Option<VolumeState>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only for disks of this source VM.
    pub source_vm: Option<String>,
    /// Only for this disk of the source VM.
    pub source_disk: Option<String>,
    /// Only after this id.
    pub after: Option<VolumeId>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<VolumeRecord> {
    let (vm, disk): (Option<String>, Option<String>) = (row.get("source_vm")?, row.get("source_disk")?);
    Ok(VolumeRecord {
        id: parsed(row, "id")?,
        name: row.get("name")?,
        size: Bytes(row.get("size_bytes")?),
        state: parsed(row, "state")?,
        provider: row.get("provider")?,
        provider_ref: row.get("provider_ref")?,
        identity: parsed_opt(row, "identity")?,
        source: vm.zip(disk).map(|(vm, disk)| SourceDisk { vm, disk }),
        generation: row.get("generation")?,
        fresh_zero: row.get("fresh_zero")?,
        written: row.get("written")?,
        handed_out: row.get("handed_out")?,
        created_at: parsed(row, "created_at")?,
        updated_at: parsed(row, "updated_at")?,
    })
}

/// Records a new volume in state `creating`.
pub fn insert(tx: &Tx<'_>, id: VolumeId, provider: &str, new: &NewRow<'_>) -> Result<(), StoreError> {
    let now = tx.now().to_string();
    tx.execute(
        "INSERT INTO volumes (id, name, size_bytes, state, provider, source_vm, source_disk, created_at, updated_at)
         VALUES (?1, ?2, ?3, 'creating', ?4, ?5, ?6, ?7, ?7)",
        params![
            id.to_string(),
            new.name,
            new.size.0,
            provider,
            new.source.map(|s| &s.vm),
            new.source.map(|s| &s.disk),
            now
        ],
    )?;
    events::append(
        tx,
        EventKind::Volume,
        Some(id),
        None,
        &serde_json::json!({ "state": "creating" }),
    )
}

/// What a new volume's row takes.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its size.
    pub size: Bytes,
    /// The source disk that it is for.
    pub source: Option<&'a SourceDisk>,
}

/// The volume with this id, deleted ones included.
pub fn get(conn: &Connection, id: VolumeId) -> Result<Option<VolumeRecord>, StoreError> {
    let row = conn
        .query_row("SELECT * FROM volumes WHERE id = ?1", [id.to_string()], read)
        .optional()?;
    Ok(row)
}

/// The volume for this source disk that is not deleted.
pub fn for_source(conn: &Connection, source: &SourceDisk) -> Result<Option<VolumeRecord>, StoreError> {
    let sql = "SELECT * FROM volumes WHERE source_vm = ?1 AND source_disk = ?2 AND state <> 'deleted'";
    Ok(conn.query_row(sql, [&source.vm, &source.disk], read).optional()?)
}

/// The volume that the provider knows by this id, deleted ones included.
pub fn by_provider_ref(conn: &Connection, provider_ref: &str) -> Result<Option<VolumeRecord>, StoreError> {
    let sql = "SELECT * FROM volumes WHERE provider_ref = ?1";
    Ok(conn.query_row(sql, [provider_ref], read).optional()?)
}

/// The volume of this identity that is not deleted.
pub fn by_identity(conn: &Connection, identity: &Identity) -> Result<Option<VolumeRecord>, StoreError> {
    let sql = "SELECT * FROM volumes WHERE identity = ?1 AND state <> 'deleted'";
    Ok(conn.query_row(sql, [identity.to_string()], read).optional()?)
}

/// Makes a record a tombstone that names no volume of the provider's: that volume, untouched, can be recorded anew. For an
/// adoption that is undone, and for the tombstone of a volume that somebody brought back. Repeating it changes nothing.
pub fn forget(tx: &Tx<'_>, id: VolumeId) -> Result<(), StoreError> {
    let now = get(tx, id)?.ok_or_else(|| StoreError::Stale(format!("volume {id} has no record")))?;
    tx.execute(
        "UPDATE volumes SET state = 'deleted', provider_ref = NULL, updated_at = ?2 WHERE id = ?1",
        params![id.to_string(), tx.now().to_string()],
    )?;
    if now.state == VolumeState::Deleted {
        return Ok(());
    }
    let data = serde_json::json!({ "state": "deleted", "before": now.state.as_str() });
    events::append(tx, EventKind::Volume, Some(id), None, &data)
}

/// At most `limit` volumes, oldest first.
pub fn list(conn: &Connection, filter: &VolumeFilter, limit: u32) -> Result<Vec<VolumeRecord>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM volumes
         WHERE state <> 'deleted'
           AND (:state IS NULL OR state = :state)
           AND (:name IS NULL OR name = :name)
           AND (:vm IS NULL OR source_vm = :vm)
           AND (:disk IS NULL OR source_disk = :disk)
           AND id > :after
         ORDER BY id LIMIT :limit",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":state": filter.state.map(VolumeState::as_str),
            ":name": filter.name,
            ":vm": filter.source_vm,
            ":disk": filter.source_disk,
            ":after": filter.after.map(|id| id.to_string()).unwrap_or_default(),
            ":limit": limit,
        },
        read,
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes the volume to `next`. Repeating it changes nothing; a transition that the model forbids is refused.
pub fn set_state(tx: &Tx<'_>, id: VolumeId, next: VolumeState) -> Result<(), StoreError> {
    let now = get(tx, id)?.ok_or_else(|| StoreError::Stale(format!("volume {id} has no record")))?;
    if now.state == next {
        return Ok(());
    }
    if !now.state.may_become(next) {
        return Err(StoreError::Stale(format!(
            "volume {id} is {}, which cannot become {next}",
            now.state
        )));
    }
    tx.execute(
        "UPDATE volumes SET state = ?2, updated_at = ?3 WHERE id = ?1",
        params![id.to_string(), next.as_str(), tx.now().to_string()],
    )?;
    let data = serde_json::json!({ "state": next.as_str(), "before": now.state.as_str() });
    events::append(tx, EventKind::Volume, Some(id), None, &data)
}

/// Records what the provider told of a volume.
pub fn set_provided(tx: &Tx<'_>, id: VolumeId, provided: &Provided<'_>) -> Result<(), StoreError> {
    change_one(
        tx.execute(
            "UPDATE volumes SET provider_ref = ?2, identity = ?3, size_bytes = ?4, fresh_zero = ?5, updated_at = ?6
             WHERE id = ?1",
            params![
                id.to_string(),
                provided.provider_ref,
                provided.identity.map(Identity::to_string),
                provided.size.0,
                provided.fresh_zero,
                tx.now().to_string()
            ],
        )?,
        id,
    )
}

/// What a provider tells of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Provided<'a> {
    /// Its own id for it.
    pub provider_ref: &'a str,
    /// What the device will carry.
    pub identity: Option<&'a Identity>,
    /// The size that it made.
    pub size: Bytes,
    /// Whether it promises that the volume reads as zeroes.
    pub fresh_zero: bool,
}

/// Records by which plug-in the device of a volume is told whose disks carry no identity.
pub fn set_appearance(tx: &Tx<'_>, id: VolumeId, plug_in: &Incarnation) -> Result<(), StoreError> {
    let identity = Identity::Appeared(plug_in.clone()).to_string();
    let sql = "UPDATE volumes SET identity = ?2, updated_at = ?3 WHERE id = ?1";
    change_one(
        tx.execute(sql, params![id.to_string(), identity, tx.now().to_string()])?,
        id,
    )
}

/// Forgets an identity that was only that of a plug-in; others stay.
pub fn forget_appearance(tx: &Tx<'_>, id: VolumeId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE volumes SET identity = NULL WHERE id = ?1 AND identity LIKE 'appeared:%'",
        [id.to_string()],
    )?;
    Ok(())
}

/// Records the volume's size.
pub fn set_size(tx: &Tx<'_>, id: VolumeId, size: Bytes) -> Result<(), StoreError> {
    let sql = "UPDATE volumes SET size_bytes = ?2, updated_at = ?3 WHERE id = ?1";
    change_one(
        tx.execute(sql, params![id.to_string(), size.0, tx.now().to_string()])?,
        id,
    )
}

/// Records that the volume's path was shown: from here on it is never deleted without its name.
pub fn mark_handed_out(tx: &Tx<'_>, id: VolumeId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE volumes SET handed_out = 1 WHERE id = ?1 AND handed_out = 0",
        [id.to_string()],
    )?;
    Ok(())
}

/// Records that a writer was let at the volume: from here on it is not known to read as zeroes.
pub fn mark_written(tx: &Tx<'_>, id: VolumeId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE volumes SET written = 1 WHERE id = ?1 AND written = 0",
        [id.to_string()],
    )?;
    Ok(())
}

/// Starts the next generation of attachments and returns it.
pub fn next_generation(tx: &Tx<'_>, id: VolumeId) -> Result<u64, StoreError> {
    let sql =
        "UPDATE volumes SET generation = generation + 1, updated_at = ?2 WHERE id = ?1 RETURNING generation";
    Ok(tx.query_row(sql, params![id.to_string(), tx.now().to_string()], |r| r.get(0))?)
}

/// How many volumes are not deleted.
pub fn count(conn: &Connection) -> Result<u64, StoreError> {
    Ok(
        conn.query_row("SELECT count(*) FROM volumes WHERE state <> 'deleted'", [], |r| {
            r.get(0)
        })?,
    )
}

/// How many volumes are in each state that any is in.
pub fn count_by_state(conn: &Connection) -> Result<Vec<(VolumeState, u64)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT state, count(*) AS count FROM volumes WHERE state <> 'deleted' GROUP BY state",
    )?;
    let rows = statement.query_map([], |row| Ok((parsed(row, "state")?, row.get("count")?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn change_one(changed: usize, id: VolumeId) -> Result<(), StoreError> {
    match changed {
        1 => Ok(()),
        _ => Err(StoreError::Stale(format!("volume {id} has no record"))),
    }
}
