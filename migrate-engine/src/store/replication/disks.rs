//! The disks of machines, and what their volumes are equal to.
//!
//! ```text
//! (new) unknown ──whole copy, flushed──► equal ──copy of what the source says has changed begins──► updating ─┐
//!          ▲                               │ ▲                                                                │
//!          └── anything else is to be written    └───────────────────────── flushed and compared ─────────────┘
//! ```
//!
//! `updating` keeps the mark: what a killed run has written lies in places that the source will tell as changed since
//! that mark again, so the next run writes them anew. That holds for the source's record alone. A comparison by digests
//! would not see a place that was written and has changed back since, so it begins from `equal` and leads through
//! `unknown`.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::super::{Store, StoreError};
use super::attempts::Turn;

/// What a volume is equal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// To the disk at its mark.
    Equal,
    /// So it is, but for places that the source tells as changed since.
    Updating,
    /// Nothing can be built on it.
    Unknown,
}

/// A disk, its volume, and what that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// The disk.
    pub disk_id: String,
    /// Its volume.
    pub volume_id: Option<String>,
    /// What that is equal to.
    pub content: Content,
    /// The mark of the source.
    pub change_id: Option<String>,
    /// The disk's size at the mark, in bytes.
    pub capacity: u64,
    /// The digest at the mark: its root.
    pub digest: Option<String>,
    /// The digests of its blocks.
    pub blocks: Option<Vec<u8>>,
    /// The job that wrote to the volume last.
    pub last_job: Option<String>,
}

/// What will be written to a disk's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<'a> {
    /// The disk.
    pub disk_id: &'a str,
    /// What people call it.
    pub label: &'a str,
    /// Which file it is.
    pub path: Option<&'a str>,
    /// Its size in bytes.
    pub capacity: u64,
    /// Its volume.
    pub volume_id: &'a str,
    /// What the volume is equal to from now on.
    pub content: Content,
}

/// A disk whose copy is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedDisk {
    /// The disk.
    pub disk_id: String,
    /// The mark to go on from.
    pub change_id: Option<String>,
    /// Its size in bytes.
    pub capacity: u64,
    /// Its digest: the root.
    pub digest: String,
    /// The digests of its blocks.
    pub blocks: Vec<u8>,
}

/// What a job does, or did, with a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobDisk {
    /// The disk.
    pub disk_id: String,
    /// Its volume.
    pub volume_id: String,
    /// `everything`, `changed` or `compared`.
    pub mode: Option<String>,
    /// Why not only what changed.
    pub reason: Option<String>,
    /// The verified device.
    pub device_path: Option<String>,
    /// The name of its export.
    pub export_name: Option<String>,
    /// The mark that it was copied up to.
    pub change_id: Option<String>,
    /// Bytes that had to be read.
    pub data_bytes: Option<u64>,
    /// Bytes that were written.
    pub bytes_written: Option<u64>,
    /// Bytes that were read back and compared.
    pub bytes_verified: Option<u64>,
    /// The digest of the source.
    pub digest: Option<String>,
}

impl Content {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Updating => "updating",
            Self::Unknown => "unknown",
        }
    }
}

impl Store {
    /// What is known of a machine's disk.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn disk_state(&self, context: i64, disk: &str) -> Result<Option<DiskState>, StoreError> {
        let sql =
            "SELECT disk_id, volume_id, content, change_id, capacity_bytes, digest, digest_blocks, last_job_id
                   FROM vm_disks
                   WHERE vm_context_id = ?1 AND disk_id = ?2";
        let conn = self.conn.lock();
        let found = conn.query_row(sql, params![context, disk], |r| {
            Ok(DiskState {
                disk_id: r.get(0)?,
                volume_id: r.get(1)?,
                content: match r.get::<_, String>(2)?.as_str() {
                    "equal" => Content::Equal,
                    "updating" => Content::Updating,
                    _ => Content::Unknown,
                },
                change_id: r.get(3)?,
                capacity: r.get(4)?,
                digest: r.get(5)?,
                blocks: r.get(6)?,
                last_job: r.get(7)?,
            })
        });
        Ok(found.optional()?)
    }

    /// Records what will be written to a disk's volume. With [`Content::Unknown`] the mark and the digests are forgotten.
    ///
    /// # Errors
    /// [`StoreError::Superseded`]; where the record cannot be made durable: then nothing is to be written.
    pub fn begin_writing(&self, turn: &Turn, context: i64, disk: &Written<'_>) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        turn.check(&tx)?;
        let now = Timestamp::now().to_string();
        tx.execute(
            "INSERT INTO vm_disks (vm_context_id, disk_id, label, path, volume_id, content, capacity_bytes, last_job_id, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (vm_context_id, disk_id) DO UPDATE SET label = ?3, path = ?4, volume_id = ?5, content = ?6,
                 last_job_id = ?8, updated_at = ?9",
            params![
                context,
                disk.disk_id,
                disk.label,
                disk.path,
                disk.volume_id,
                disk.content.as_str(),
                disk.capacity,
                turn.job,
                now
            ],
        )?;
        if disk.content == Content::Unknown {
            tx.execute(
                "UPDATE vm_disks SET change_id = NULL, digest = NULL, digest_blocks = NULL, capacity_bytes = ?3
                 WHERE vm_context_id = ?1 AND disk_id = ?2",
                params![context, disk.disk_id, disk.capacity],
            )?;
        }
        Ok(tx.commit()?)
    }

    /// Records that the volumes of these disks are equal to their marks, all at once: each copy is flushed and compared.
    ///
    /// # Errors
    /// [`StoreError::Superseded`]; where the record cannot be made durable: then the marks before stay.
    pub fn finish_disks(&self, turn: &Turn, context: i64, disks: &[FinishedDisk]) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        turn.check(&tx)?;
        let now = Timestamp::now().to_string();
        for disk in disks {
            tx.execute(
                "UPDATE vm_disks SET content = 'equal', change_id = ?3, capacity_bytes = ?4, digest = ?5, digest_blocks = ?6,
                     updated_at = ?7
                 WHERE vm_context_id = ?1 AND disk_id = ?2",
                params![
                    context,
                    disk.disk_id,
                    disk.change_id,
                    disk.capacity,
                    disk.digest,
                    disk.blocks,
                    now
                ],
            )?;
        }
        Ok(tx.commit()?)
    }

    /// Records what a job does with a disk, as far as that is known.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn note_disk(&self, job: &str, disk: &JobDisk) -> Result<(), StoreError> {
        self.conn.lock().execute(
            "INSERT OR REPLACE INTO replication_disks (job_id, disk_id, volume_id, mode, reason, device_path, export_name,
                 change_id, data_bytes, bytes_written, bytes_verified, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                job,
                disk.disk_id,
                disk.volume_id,
                disk.mode,
                disk.reason,
                disk.device_path,
                disk.export_name,
                disk.change_id,
                disk.data_bytes,
                disk.bytes_written,
                disk.bytes_verified,
                disk.digest
            ],
        )?;
        Ok(())
    }

    /// What a job does, or did, with each disk.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn job_disks(&self, job: &str) -> Result<Vec<JobDisk>, StoreError> {
        let conn = self.conn.lock();
        let mut query = conn.prepare_cached(
            "SELECT disk_id, volume_id, mode, reason, device_path, export_name, change_id, data_bytes, bytes_written,
                 bytes_verified, digest
             FROM replication_disks WHERE job_id = ?1 ORDER BY rowid",
        )?;
        let rows = query.query_map([job], |r| {
            Ok(JobDisk {
                disk_id: r.get(0)?,
                volume_id: r.get(1)?,
                mode: r.get(2)?,
                reason: r.get(3)?,
                device_path: r.get(4)?,
                export_name: r.get(5)?,
                change_id: r.get(6)?,
                data_bytes: r.get(7)?,
                bytes_written: r.get(8)?,
                bytes_verified: r.get(9)?,
                digest: r.get(10)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
