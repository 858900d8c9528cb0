//! The database as the cut left it, read on the host by SQLite alone, before any daemon has seen it again.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use volume_client::types::{Operation, OperationId};

use super::words::{Told, Word};

/// What is acknowledged, in the order in which it was heard.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    words: Vec<Word>,
}

impl Ledger {
    pub(super) fn note(&mut self, words: Vec<Word>) {
        self.words.extend(words);
    }

    /// The latest changes that were taken on.
    pub(super) fn latest_taken(&self, most: usize) -> Vec<Told> {
        let taken = self.words.iter().rev().filter_map(|word| match word {
            Word::Taken(told) => Some(told.clone()),
            _ => None,
        });
        taken.take(most).collect()
    }

    /// How many acknowledgements there are.
    pub(super) fn count(&self) -> u64 {
        self.words
            .iter()
            .filter(|word| !matches!(word, Word::Repeated(..)))
            .count() as u64
    }
}

/// What a cut has done to what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Acknowledgements that are not in the database, or are otherwise in it.
    pub(super) lost: Vec<String>,
    /// Other things that are wrong with it.
    pub(super) wrong: Vec<String>,
}

/// Judges the database at `path` by the ledger.
pub(super) fn judge(path: &Path, ledger: &Ledger) -> Judgement {
    let mut judgement = Judgement::default();
    match look(path, ledger, &mut judgement) {
        Ok(()) => {}
        Err(error) => judgement
            .wrong
            .push(format!("the database cannot be read: {error}")),
    }
    judgement
}

fn look(path: &Path, ledger: &Ledger, judgement: &mut Judgement) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    let found: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        judgement.wrong.push(format!("integrity_check: {found}"));
    }
    let mut released = Vec::new();
    let mut ended = BTreeMap::new();
    for word in &ledger.words {
        let lost = match word {
            Word::Taken(told) => taken(&conn, told)?,
            Word::Ended(operation) => {
                ended.insert(operation.id, &**operation);
                end(&conn, operation)?
            }
            Word::Leased(lease, _) => {
                let sql = "SELECT 1 FROM leases WHERE id = ?1";
                let found: Option<i64> = conn
                    .query_row(sql, [lease.to_string()], |row| row.get(0))
                    .optional()?;
                found.is_none().then(|| format!("lease {lease}"))
            }
            Word::Released(lease) => {
                released.push(*lease);
                let sql = "SELECT 1 FROM leases WHERE id = ?1 AND released_at IS NOT NULL";
                let found: Option<i64> = conn
                    .query_row(sql, [lease.to_string()], |row| row.get(0))
                    .optional()?;
                found.is_none().then(|| format!("the end of lease {lease}"))
            }
            Word::Repeated(..) => None,
        };
        judgement.lost.extend(lost);
    }
    judgement.wrong.extend(undone(&conn, &ended)?);
    Ok(())
}

/// That an operation that was taken on is there under its key.
fn taken(conn: &Connection, told: &Told) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT 1 FROM idempotency_keys k JOIN operations o ON o.id = k.resource_id
               WHERE k.key = ?1 AND o.id = ?2";
    let found: Option<i64> = conn
        .query_row(sql, [&told.key, &told.operation.to_string()], |row| row.get(0))
        .optional()?;
    Ok(found
        .is_none()
        .then(|| format!("operation {} ({:?})", told.operation, told.ask)))
}

/// That an end that was told is the end that is recorded, with the same response.
fn end(conn: &Connection, told: &Operation) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT status, response FROM operations WHERE id = ?1";
    let found: Option<(String, Option<String>)> = conn
        .query_row(sql, [told.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let status = serde_json::to_value(told.status).unwrap();
    let is_same = found.as_ref().is_some_and(|(state, response)| {
        let response = response
            .as_ref()
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        status == state.as_str() && response == told.response
    });
    Ok((!is_same).then(|| format!("the end of operation {} ({status}): {found:?}", told.id)))
}

/// That a volume whose latest operation was told to be completed is in the state that this brought it to.
fn undone(conn: &Connection, ended: &BTreeMap<OperationId, &Operation>) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(
        "SELECT o.id, o.kind, v.id, v.state FROM volumes v JOIN operations o ON o.volume_id = v.id
         WHERE o.id = (SELECT max(id) FROM operations WHERE volume_id = v.id) AND o.status = 'completed'",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, String>(3)?,
        ))
    })?;
    let mut wrong = Vec::new();
    for row in rows {
        let (operation, kind, volume, state) = row?;
        let expected = match kind.as_str() {
            "create" | "detach" => "available",
            "attach" => "in_use",
            "delete" => "deleted",
            _ => continue,
        };
        let was_told = operation
            .parse()
            .is_ok_and(|id: OperationId| ended.contains_key(&id));
        if was_told && state != expected {
            wrong.push(format!(
                "volume {volume} is {state} after {kind} {operation}, which was told to be completed"
            ));
        }
    }
    Ok(wrong)
}
