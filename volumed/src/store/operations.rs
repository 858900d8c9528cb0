//! The rows of operations.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::Value;

use super::row::{json, json_opt, parsed, parsed_opt};
use super::{StoreError, Tx, attachments, events};
use crate::model::{
    ErrorCode, EventKind, Failure, OperationId, OperationKind, OperationStatus, Request, VolumeId,
};

/// What `failure_code` says of an operation that was withdrawn.
const CANCELLED: &str = "cancelled";

/// An operation as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRecord {
    /// Its id.
    pub id: OperationId,
    /// How it stands.
    pub status: OperationStatus,
    /// The volume that it is about.
    pub volume_id: VolumeId,
    /// The VM that it is about.
    pub vm_id: Option<String>,
    /// What is asked.
    pub request: Request,
    /// What came of it.
    pub response: Option<Value>,
    /// Why it is being undone, or was.
    pub failure: Option<Failure>,
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Whether somebody asked to withdraw it.
    pub cancel_requested: bool,
    /// Who asked for it.
    pub actor: String,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Which operations a list is of.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// Only with this status.
    pub status: Option<OperationStatus>,
    /// Only of this kind.
    pub kind: Option<OperationKind>,
    /// Only of this volume.
    pub volume_id: Option<VolumeId>,
    /// Only after this id.
    pub after: Option<OperationId>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<OperationRecord> {
    Ok(OperationRecord {
        id: parsed(row, "id")?,
        status: parsed(row, "status")?,
        volume_id: parsed(row, "volume_id")?,
        vm_id: row.get("vm_id")?,
        request: json(row, "request")?,
        response: json_opt(row, "response")?,
        failure: failure(row)?,
        waiting_for: row.get("waiting_for")?,
        cancel_requested: row.get("cancel_requested")?,
        actor: row.get("actor")?,
        request_id: row.get("request_id")?,
        created_at: parsed(row, "created_at")?,
        updated_at: parsed(row, "updated_at")?,
        completed_at: parsed_opt(row, "completed_at")?,
    })
}

fn failure(row: &Row<'_>) -> rusqlite::Result<Option<Failure>> {
    let Some(code) = row.get::<_, Option<String>>("failure_code")? else {
        return Ok(None);
    };
    // A code that this daemon does not know comes from a damaged row; it is shown as what it is: our defect.
    let known = ErrorCode::ALL
        .iter()
        .copied()
        .find(|known| known.as_str() == code);
    Ok(Some(Failure {
        code: known.unwrap_or(ErrorCode::Internal),
        message: row
            .get::<_, Option<String>>("failure_message")?
            .unwrap_or_default(),
        hint: row.get("failure_hint")?,
        cancelled: code == CANCELLED,
    }))
}

/// Who asks for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who: `uid:0`, `tcp:127.0.0.1:4711`, `reconciler`.
    pub actor: String,
    /// The HTTP request that it came with.
    pub request_id: Option<String>,
}

/// Records a new operation as `pending`. The schema refuses a second open one for the same volume.
pub fn insert(
    tx: &Tx<'_>,
    id: OperationId,
    volume: VolumeId,
    request: &Request,
    asker: &Asker,
) -> Result<(), StoreError> {
    let vm = match request {
        Request::Attach { vm_id } => Some(vm_id.clone()),
        Request::Detach {} => attachments::live(tx, volume)?.map(|attachment| attachment.vm_id),
        _ => None,
    };
    tx.execute(
        "INSERT INTO operations (id, kind, status, volume_id, vm_id, request, actor, request_id, created_at, updated_at)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            id.to_string(),
            request.kind().as_str(),
            volume.to_string(),
            vm,
            to_json(request),
            asker.actor,
            asker.request_id,
            tx.now().to_string()
        ],
    )?;
    tell(tx, id, volume, OperationStatus::Pending, request.kind())
}

fn to_json(request: &Request) -> String {
    serde_json::to_string(request).expect("a request has only strings, numbers and ids")
}

fn tell(
    tx: &Tx<'_>,
    id: OperationId,
    volume: VolumeId,
    status: OperationStatus,
    kind: OperationKind,
) -> Result<(), StoreError> {
    let data = serde_json::json!({ "status": status.as_str(), "type": kind.as_str() });
    events::append(tx, EventKind::Operation, Some(volume), Some(id), &data)
}

/// The operation with this id.
pub fn get(conn: &Connection, id: OperationId) -> Result<Option<OperationRecord>, StoreError> {
    Ok(conn
        .query_row("SELECT * FROM operations WHERE id = ?1", [id.to_string()], read)
        .optional()?)
}

/// The volume's operation that has not ended.
pub fn open_for(conn: &Connection, volume: VolumeId) -> Result<Option<OperationRecord>, StoreError> {
    let sql = "SELECT * FROM operations WHERE volume_id = ?1 AND completed_at IS NULL";
    Ok(conn.query_row(sql, [volume.to_string()], read).optional()?)
}

/// The volume's operation that has not ended, or else its latest one.
pub fn latest_of(conn: &Connection, volume: VolumeId) -> Result<Option<OperationRecord>, StoreError> {
    let sql =
        "SELECT * FROM operations WHERE volume_id = ?1 ORDER BY completed_at IS NOT NULL, id DESC LIMIT 1";
    Ok(conn.query_row(sql, [volume.to_string()], read).optional()?)
}

/// Every operation that has not ended, oldest first.
pub fn all_open(conn: &Connection) -> Result<Vec<OperationRecord>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT * FROM operations WHERE completed_at IS NULL ORDER BY id")?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The volumes from `first` to `last`, both included, that have an operation which has not ended, and that operation.
pub fn open_between(
    conn: &Connection,
    first: VolumeId,
    last: VolumeId,
) -> Result<Vec<(VolumeId, OperationId)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT volume_id, id FROM operations WHERE completed_at IS NULL AND volume_id BETWEEN ?1 AND ?2",
    )?;
    let rows = statement.query_map([first.to_string(), last.to_string()], |row| {
        Ok((parsed(row, "volume_id")?, parsed(row, "id")?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// At most `limit` operations, oldest first.
pub fn list(
    conn: &Connection,
    filter: &OperationFilter,
    limit: u32,
) -> Result<Vec<OperationRecord>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM operations
         WHERE (:status IS NULL OR status = :status)
           AND (:kind IS NULL OR kind = :kind)
           AND (:volume IS NULL OR volume_id = :volume)
           AND id > :after
         ORDER BY id LIMIT :limit",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":status": filter.status.map(OperationStatus::as_str),
            ":kind": filter.kind.map(OperationKind::as_str),
            ":volume": filter.volume_id.map(|id| id.to_string()),
            ":after": filter.after.map(|id| id.to_string()).unwrap_or_default(),
            ":limit": limit,
        },
        read,
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes that the operation has started.
pub fn start(tx: &Tx<'_>, id: OperationId) -> Result<OperationRecord, StoreError> {
    let now = require(tx, id)?;
    if now.status == OperationStatus::Pending {
        tx.execute(
            "UPDATE operations SET status = 'running', updated_at = ?2 WHERE id = ?1",
            params![id.to_string(), tx.now().to_string()],
        )?;
        tell(
            tx,
            id,
            now.volume_id,
            OperationStatus::Running,
            now.request.kind(),
        )?;
    }
    require(tx, id)
}

/// Notes what a running operation waits for, or that it no longer waits.
pub fn set_waiting(tx: &Tx<'_>, id: OperationId, waiting_for: Option<&str>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE operations SET waiting_for = ?2, updated_at = ?3 WHERE id = ?1 AND waiting_for IS NOT ?2",
        params![id.to_string(), waiting_for, tx.now().to_string()],
    )?;
    Ok(())
}

/// Records the decision to undo the operation. The first decision stands.
pub fn set_failure(tx: &Tx<'_>, id: OperationId, failure: &Failure) -> Result<(), StoreError> {
    let code = if failure.cancelled {
        CANCELLED
    } else {
        failure.code.as_str()
    };
    tx.execute(
        "UPDATE operations SET failure_code = ?2, failure_message = ?3, failure_hint = ?4, updated_at = ?5
         WHERE id = ?1 AND failure_code IS NULL AND completed_at IS NULL",
        params![
            id.to_string(),
            code,
            failure.message,
            failure.hint,
            tx.now().to_string()
        ],
    )?;
    Ok(())
}

/// Records the wish to withdraw the operation.
pub fn request_cancel(tx: &Tx<'_>, id: OperationId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE operations SET cancel_requested = 1, updated_at = ?2 WHERE id = ?1 AND completed_at IS NULL",
        params![id.to_string(), tx.now().to_string()],
    )?;
    Ok(())
}

/// Ends an open operation as failed, whatever it was about to become and without undoing anything.
pub fn end_as(tx: &Tx<'_>, id: OperationId, failure: &Failure) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE operations SET failure_code = NULL WHERE id = ?1 AND completed_at IS NULL",
        [id.to_string()],
    )?;
    set_failure(tx, id, failure)?;
    finish(tx, id, None)?;
    Ok(())
}

/// Ends the operation: completed with `response`, or failed or cancelled as its failure says. Repeating it changes
/// nothing.
pub fn finish(tx: &Tx<'_>, id: OperationId, response: Option<&Value>) -> Result<OperationRecord, StoreError> {
    let now = require(tx, id)?;
    if now.status.is_final() {
        return Ok(now);
    }
    let status = match &now.failure {
        None => OperationStatus::Completed,
        Some(failure) if failure.cancelled => OperationStatus::Cancelled,
        Some(_) => OperationStatus::Failed,
    };
    tx.execute(
        "UPDATE operations SET status = ?2, response = ?3, waiting_for = NULL, updated_at = ?4, completed_at = ?4
         WHERE id = ?1",
        params![
            id.to_string(),
            status.as_str(),
            response.map(Value::to_string),
            tx.now().to_string()
        ],
    )?;
    tell(tx, id, now.volume_id, status, now.request.kind())?;
    require(tx, id)
}

fn require(tx: &Tx<'_>, id: OperationId) -> Result<OperationRecord, StoreError> {
    get(tx, id)?.ok_or_else(|| StoreError::Stale(format!("operation {id} has no record")))
}
