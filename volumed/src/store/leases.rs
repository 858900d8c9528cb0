//! The rows of leases.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{parsed, parsed_opt};
use super::{StoreError, Tx, events};
use crate::model::{EventKind, LeaseAccess, LeaseId, LeasePurpose, VolumeId};

/// A lease as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: LeaseId,
    /// The volume.
    pub volume_id: VolumeId,
    /// The volume's attachment generation when it was taken.
    pub generation: u64,
    /// What it is for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it.
    pub holder: String,
    /// More about it.
    pub detail: Option<String>,
    /// Whether the volume was known to read as zeroes when it was taken.
    pub known_zero: bool,
    /// Seconds between renewals.
    pub ttl_seconds: u32,
    /// When it was taken.
    pub acquired_at: Timestamp,
    /// Until when it is believed without a renewal.
    pub expires_at: Timestamp,
    /// When it ended.
    pub released_at: Option<Timestamp>,
}

impl LeaseRecord {
    /// Whether it was due for renewal before `now`.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at < now
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<LeaseRecord> {
    Ok(LeaseRecord {
        id: parsed(row, "id")?,
        volume_id: parsed(row, "volume_id")?,
        generation: row.get("generation")?,
        purpose: parsed(row, "purpose")?,
        access: parsed(row, "access")?,
        holder: row.get("holder")?,
        detail: row.get("detail")?,
        known_zero: row.get("known_zero")?,
        ttl_seconds: row.get("ttl_seconds")?,
        acquired_at: parsed(row, "acquired_at")?,
        expires_at: parsed(row, "expires_at")?,
        released_at: parsed_opt(row, "released_at")?,
    })
}

/// What a new lease's row takes.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// The volume.
    pub volume_id: VolumeId,
    /// The attachment's generation.
    pub generation: u64,
    /// What it is for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it.
    pub holder: String,
    /// More about it.
    pub detail: Option<String>,
    /// Whether the volume is known to read as zeroes.
    pub known_zero: bool,
    /// Seconds between renewals.
    pub ttl_seconds: u32,
}

/// Records a lease. The schema refuses a second writer.
pub fn insert(tx: &Tx<'_>, new: &NewRow) -> Result<LeaseRecord, StoreError> {
    let id = LeaseId::new();
    tx.execute(
        "INSERT INTO leases (id, volume_id, generation, purpose, access, holder, detail, known_zero, ttl_seconds,
                             acquired_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            id.to_string(),
            new.volume_id.to_string(),
            new.generation,
            new.purpose.as_str(),
            new.access.as_str(),
            new.holder,
            new.detail,
            new.known_zero,
            new.ttl_seconds,
            tx.now().to_string(),
            in_seconds(tx.now(), new.ttl_seconds).to_string(),
        ],
    )?;
    tell(tx, id, new.volume_id, "taken")?;
    get(tx, id)?.ok_or_else(|| StoreError::Stale(format!("lease {id} has no record")))
}

fn in_seconds(now: Timestamp, seconds: u32) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(i64::from(seconds)))
        .unwrap_or(Timestamp::MAX)
}

fn tell(tx: &Tx<'_>, id: LeaseId, volume: VolumeId, what: &str) -> Result<(), StoreError> {
    let data = serde_json::json!({ "lease_id": id, "what": what });
    events::append(tx, EventKind::Lease, Some(volume), None, &data)
}

/// The lease with this id, ended ones included.
pub fn get(conn: &Connection, id: LeaseId) -> Result<Option<LeaseRecord>, StoreError> {
    Ok(conn
        .query_row("SELECT * FROM leases WHERE id = ?1", [id.to_string()], read)
        .optional()?)
}

/// The volume's leases that have not ended, oldest first.
pub fn live_of(conn: &Connection, volume: VolumeId) -> Result<Vec<LeaseRecord>, StoreError> {
    let sql = "SELECT * FROM leases WHERE volume_id = ?1 AND released_at IS NULL ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([volume.to_string()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// At most `limit` leases that have not ended, oldest first, after `after`.
pub fn list(conn: &Connection, after: Option<LeaseId>, limit: u32) -> Result<Vec<LeaseRecord>, StoreError> {
    let sql = "SELECT * FROM leases WHERE released_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(
        params![after.map(|id| id.to_string()).unwrap_or_default(), limit],
        read,
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Renews a lease that has not ended; `None` where it has, or never was.
pub fn renew(tx: &Tx<'_>, id: LeaseId, ttl_seconds: Option<u32>) -> Result<Option<LeaseRecord>, StoreError> {
    let Some(lease) = get(tx, id)?.filter(|lease| lease.released_at.is_none()) else {
        return Ok(None);
    };
    let ttl = ttl_seconds.unwrap_or(lease.ttl_seconds);
    tx.execute(
        "UPDATE leases SET ttl_seconds = ?2, expires_at = ?3 WHERE id = ?1",
        params![id.to_string(), ttl, in_seconds(tx.now(), ttl).to_string()],
    )?;
    get(tx, id)
}

/// Ends a lease and says why. Returns whether it had not ended before.
pub fn release(tx: &Tx<'_>, id: LeaseId, why: &str) -> Result<bool, StoreError> {
    let Some(lease) = get(tx, id)?.filter(|lease| lease.released_at.is_none()) else {
        return Ok(false);
    };
    tx.execute(
        "UPDATE leases SET released_at = ?2, released_why = ?3 WHERE id = ?1",
        params![id.to_string(), tx.now().to_string(), why],
    )?;
    tell(tx, id, lease.volume_id, "released")?;
    Ok(true)
}
