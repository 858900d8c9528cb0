//! What a restored database must remember: that its rows are older than the world, and which volumes were not compared with it since.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::row::parsed;
use super::{StoreError, Tx, events, meta, volumes};
use crate::model::{EventKind, VolumeId, VolumeState};

/// The fact that a restore leaves for the next start; says when the copy was made.
pub(super) const MARK: &str = "restored";

/// Until when a call that this database knows nothing of may still land.
const FENCE: &str = "restored_fence";

/// How many numbers of events a second leaves room for: more than any daemon writes.
const EVENTS_PER_SECOND_BITS: u32 = 20;

/// When the copy was made that was put in place since the last start; `None` where none was.
pub fn mark(conn: &Connection) -> Result<Option<String>, StoreError> {
    meta::get(conn, MARK)
}

/// Notes that the records were gone through: every volume that is not deleted is unproven, and nothing is proven before calls
/// that nobody knows of can no longer land, which is after `expiry`.
pub fn begin(tx: &Tx<'_>, expiry: SignedDuration) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR IGNORE INTO unproven_volumes (volume_id, recorded_state, since)
         SELECT id, state, ?1 FROM volumes WHERE state <> 'deleted'",
        [tx.now().to_string()],
    )?;
    let until = tx.now().saturating_add(expiry).unwrap_or(Timestamp::MAX);
    meta::replace(tx, FENCE, &until.to_string())?;
    meta::remove(tx, MARK)
}

/// Whether a call that this database knows nothing of may still land.
pub fn is_fenced(conn: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let until = meta::get(conn, FENCE)?.and_then(|text| text.parse::<Timestamp>().ok());
    Ok(until.is_some_and(|until| now < until))
}

/// Has events and generations go on with numbers that no client has seen of a later time of this database. They follow the
/// clock, so that two restores of one copy do not use the same numbers either.
pub fn skip_numbers(tx: &Tx<'_>) -> Result<(), StoreError> {
    let event = tx.now().as_second() << EVENTS_PER_SECOND_BITS;
    tx.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'events', 0
                WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events')",
        [],
    )?;
    tx.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'events'",
        [event],
    )?;
    // At most one attach of a volume a millisecond.
    tx.execute(
        "UPDATE volumes SET generation = max(generation, ?1)",
        [tx.now().as_millisecond()],
    )?;
    Ok(())
}

/// Whether the volume was not compared with cloud and kernel since the database was restored.
pub fn is_unproven(conn: &Connection, volume: VolumeId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM unproven_volumes WHERE volume_id = ?1";
    let found: Option<i64> = conn
        .query_row(sql, [volume.to_string()], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Every volume that was not compared since, and what the copy said of its state.
pub fn unproven(conn: &Connection) -> Result<Vec<(VolumeId, VolumeState)>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT volume_id, recorded_state FROM unproven_volumes ORDER BY volume_id")?;
    let rows = statement.query_map([], |row| {
        Ok((parsed(row, "volume_id")?, parsed(row, "recorded_state")?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that the volume was compared. Says whether it was not before.
pub fn prove(tx: &Tx<'_>, volume: VolumeId) -> Result<bool, StoreError> {
    let gone = tx.execute(
        "DELETE FROM unproven_volumes WHERE volume_id = ?1",
        params![volume.to_string()],
    )?;
    Ok(gone > 0)
}

/// Takes the volume to a state that promises nothing: available, or still being made where the cloud never told of it; and as
/// if everything had been done to it that a client may have done since.
pub fn set_aside(tx: &Tx<'_>, volume: VolumeId) -> Result<(), StoreError> {
    volumes::forget_appearance(tx, volume)?;
    tx.execute(
        "UPDATE volumes SET written = 1, handed_out = 1, updated_at = ?2,
                state = CASE WHEN provider_ref IS NULL THEN 'creating' ELSE 'available' END
         WHERE id = ?1 AND state <> 'deleted'",
        params![volume.to_string(), tx.now().to_string()],
    )?;
    let data = serde_json::json!({ "why": "the database was restored" });
    events::append(tx, EventKind::Volume, Some(volume), None, &data)
}
