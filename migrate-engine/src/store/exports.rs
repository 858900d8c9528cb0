//! What was published over NBD: recorded before it is published, so that whatever a crash leaves is known.

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, StoreError};

/// An export as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// The volume.
    pub volume_id: String,
    /// The export's name.
    pub name: String,
    /// The verified device.
    pub device_path: String,
    /// Where it is.
    pub uri: String,
    /// Who serves it.
    pub backend: String,
    /// Where the server listens: `HOST:PORT`, or a path.
    pub listen: String,
    /// The run of the engine that publishes it ([`super::Run::id`]).
    pub run: String,
}

impl Store {
    /// Records an export that is about to be published. One that a crash left live for the same volume is ended.
    ///
    /// # Errors
    /// Where the record cannot be made durable: then nothing is to be published.
    pub fn publishing(&self, export: &ExportRow) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        let now = Timestamp::now().to_string();
        tx.execute(
            "UPDATE nbd_exports SET withdrawn_at = ?2 WHERE volume_id = ?1 AND withdrawn_at IS NULL",
            [&export.volume_id, &now],
        )?;
        tx.execute(
            "INSERT INTO nbd_exports (volume_id, export_name, device_path, uri, backend, listen, run, published_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                export.volume_id,
                export.name,
                export.device_path,
                export.uri,
                export.backend,
                export.listen,
                export.run,
                now
            ],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// Records where a volume's export is now.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn published(&self, volume: &str, uri: &str) -> Result<(), StoreError> {
        let sql =
            "UPDATE nbd_exports SET uri = ?2 WHERE volume_id = ?1 AND withdrawn_at IS NULL AND uri <> ?2";
        self.conn.lock().execute(sql, [volume, uri])?;
        Ok(())
    }

    /// Records that a volume's export was withdrawn, or never came about.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn withdrawn(&self, volume: &str) -> Result<(), StoreError> {
        let sql = "UPDATE nbd_exports SET withdrawn_at = ?2 WHERE volume_id = ?1 AND withdrawn_at IS NULL";
        let now = Timestamp::now().to_string();
        self.conn.lock().execute(sql, [volume, &now])?;
        Ok(())
    }

    /// The exports of a run that were not withdrawn.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn live_exports(&self, run: &str) -> Result<Vec<ExportRow>, StoreError> {
        let conn = self.conn.lock();
        let mut query = conn.prepare(
            "SELECT volume_id, export_name, device_path, uri, backend, listen, run FROM nbd_exports
             WHERE run = ?1 AND withdrawn_at IS NULL ORDER BY id",
        )?;
        let rows = query.query_map([run], |row| {
            Ok(ExportRow {
                volume_id: row.get(0)?,
                name: row.get(1)?,
                device_path: row.get(2)?,
                uri: row.get(3)?,
                backend: row.get(4)?,
                listen: row.get(5)?,
                run: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
