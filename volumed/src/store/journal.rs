//! The journal of an operation's steps: appended to before a step starts and after it ended.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::row::parsed;
use super::{StoreError, Tx};
use crate::model::{JournalLine, OperationId, StepState};

/// A line of the journal as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRecord {
    /// Which step, and how it stands.
    pub line: JournalLine,
    /// What was observed, or why it failed.
    pub detail: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
}

/// Appends a line.
pub fn append(
    tx: &Tx<'_>,
    operation: OperationId,
    step: &str,
    state: StepState,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO operation_steps (operation_id, seq, step, state, detail, at)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM operation_steps WHERE operation_id = ?1",
        params![
            operation.to_string(),
            step,
            state.as_str(),
            detail,
            tx.now().to_string()
        ],
    )?;
    Ok(())
}

/// The operation's journal, oldest line first.
pub fn read(conn: &Connection, operation: OperationId) -> Result<Vec<LineRecord>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT * FROM operation_steps WHERE operation_id = ?1 ORDER BY seq")?;
    let rows = statement.query_map([operation.to_string()], |row| {
        Ok(LineRecord {
            line: JournalLine {
                step: row.get("step")?,
                state: parsed(row, "state")?,
            },
            detail: row.get("detail")?,
            at: parsed(row, "at")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
