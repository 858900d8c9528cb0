//! Findings that somebody wants passed over: kept until somebody takes it back, whether the finding stands or not.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::row::parsed;
use super::{StoreError, Tx};
use crate::model::FindingId;

/// Who wants a finding passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredRecord {
    /// The finding.
    pub id: FindingId,
    /// What it says.
    pub kind: String,
    /// What it is about, for people.
    pub about: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
}

/// Records that a finding is to be passed over. Repeating it takes the new reason.
pub fn insert(tx: &Tx<'_>, new: &NewRow<'_>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO ignored_findings (id, kind, about, actor, why, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET actor = excluded.actor, why = excluded.why, at = excluded.at",
        params![
            new.id.to_string(),
            new.kind,
            new.about,
            new.actor,
            new.why,
            tx.now().to_string()
        ],
    )?;
    Ok(())
}

/// What a new row takes.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// The finding.
    pub id: &'a FindingId,
    /// What it says.
    pub kind: &'a str,
    /// What it is about, for people.
    pub about: &'a str,
    /// Who wants it.
    pub actor: &'a str,
    /// Why.
    pub why: &'a str,
}

/// Takes it back. Returns whether it was passed over.
pub fn delete(tx: &Tx<'_>, id: &FindingId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM ignored_findings WHERE id = ?1";
    Ok(tx.execute(sql, [id.to_string()])? > 0)
}

/// All of them.
pub fn all(conn: &Connection) -> Result<Vec<IgnoredRecord>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM ignored_findings ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok(IgnoredRecord {
            id: parsed(row, "id")?,
            kind: row.get("kind")?,
            about: row.get("about")?,
            actor: row.get("actor")?,
            why: row.get("why")?,
            at: parsed(row, "at")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
