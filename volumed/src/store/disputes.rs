//! The plug-ins that were seen beside another one with their identity, kept so that a restart does not forget them.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::{StoreError, Tx};

/// Those of a boot, by `diskseq`.
pub fn of_boot(conn: &Connection, boot_id: &str) -> Result<BTreeSet<u64>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT diskseq FROM disputed_plug_ins WHERE boot_id = ?1")?;
    let rows = statement.query_map([boot_id], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records those of this boot; those of other boots are over. Repeating it changes nothing.
pub fn record(tx: &Tx<'_>, boot_id: &str, disputed: &BTreeSet<u64>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM disputed_plug_ins WHERE boot_id <> ?1", [boot_id])?;
    for diskseq in disputed {
        tx.execute(
            "INSERT OR IGNORE INTO disputed_plug_ins (boot_id, diskseq, seen_at) VALUES (?1, ?2, ?3)",
            params![boot_id, diskseq, tx.now().to_string()],
        )?;
    }
    Ok(())
}
