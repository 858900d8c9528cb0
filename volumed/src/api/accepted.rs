//! Operations on their way: submitting one, waiting for its end, and the answer 202.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use volume_client::types::{ErrorCode, Operation};

use super::Api;
use super::convert::operation;
use super::extract::Command;
use super::problem::{ApiError, failure};
use crate::model::{OperationId, Request, VolumeId};
use crate::operation::Submission;
use crate::store::{EventRecord, LineRecord, OperationRecord, Store, StoreError, journal, operations};

/// The answer to a request that was taken: where its operation is, and how it stands.
pub(super) struct Accepted(pub(super) Operation);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("/api/v1/operations/{}", self.0.id);
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(self.0)).into_response()
    }
}

impl Api {
    /// Submits what a command asks and waits as long as its caller does.
    pub(super) async fn submit<T>(
        &self,
        volume_id: Option<VolumeId>,
        request: Request,
        command: Command<T>,
    ) -> Result<Accepted, ApiError> {
        let submission = Submission {
            volume_id,
            request,
            asker: command.asker,
            key: command.key,
        };
        let record = self.operations.submit(submission).await?;
        self.accepted(record, command.wait).await
    }

    /// The answer for this operation, given once it has ended or `wait` is over.
    pub(super) async fn accepted(
        &self,
        record: OperationRecord,
        wait: Option<Duration>,
    ) -> Result<Accepted, ApiError> {
        let operation = match wait {
            Some(wait) => self.operation(record.id, wait).await?,
            None => operation::view(record, Vec::new()),
        };
        Ok(Accepted(operation))
    }

    /// The operation with its steps, once it has ended, `wait` is over or the daemon stops.
    pub(super) async fn operation(&self, id: OperationId, wait: Duration) -> Result<Operation, ApiError> {
        let found = follow(&self.store, &self.stopping, id, wait).await?;
        let (record, steps) = found.ok_or_else(|| {
            let message = format!("there is no operation {id}");
            failure(ErrorCode::OperationNotFound, message)
        })?;
        Ok(operation::view(record, steps))
    }
}

/// An operation's record and its journal.
pub(super) type Followed = (OperationRecord, Vec<LineRecord>);

/// The operation once it has ended, `wait` is over or `stopping` is cancelled; `None` where there is none. Nobody polls:
/// every change of an operation is an event, and one that names the operation wakes those who wait for it.
pub(super) async fn follow(
    store: &Store,
    stopping: &CancellationToken,
    id: OperationId,
    wait: Duration,
) -> Result<Option<Followed>, StoreError> {
    let deadline = Instant::now() + wait;
    let mut events = store.event_ids();
    loop {
        let seen = *events.borrow_and_update();
        let found = store.read(move |conn| read(conn, id)).await?;
        let is_final = found.as_ref().is_none_or(|(record, _)| record.status.is_final());
        if is_final || stopping.is_cancelled() || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            changed = timeout_at(deadline, named(store, &mut events, id, seen)) => {
                if matches!(changed, Ok(Err(_))) {
                    return Ok(found); // the store has stopped: there is no more to come
                }
            }
        }
    }
}

/// Returns once an event after number `seen` names the operation, or may have done so.
async fn named(
    store: &Store,
    events: &mut watch::Receiver<i64>,
    id: OperationId,
    mut seen: i64,
) -> Result<(), RecvError> {
    loop {
        events.changed().await?;
        let told = *events.borrow_and_update();
        let is_named = |event: &Arc<EventRecord>| event.operation_id == Some(id);
        match store.latest_events(seen) {
            Some(latest) if !latest.iter().any(is_named) => seen = told,
            _ => return Ok(()),
        }
    }
}

fn read(conn: &Connection, id: OperationId) -> Result<Option<Followed>, StoreError> {
    let Some(record) = operations::get(conn, id)? else {
        return Ok(None);
    };
    Ok(Some((record, journal::read(conn, id)?)))
}
