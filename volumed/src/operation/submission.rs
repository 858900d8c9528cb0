//! What is asked of the daemon, admitted and recorded in one transaction.

use super::admission::{Situation, admit};
use super::executor::is_past_return;
use super::world::World;
use super::{OperationError, adoption, restored, steps};
use crate::cloud::Capabilities;
use crate::model::{Bytes, ErrorCode, Failure, OperationId, Request, VolumeId, VolumeState};
use crate::store::volumes::NewRow;
use crate::store::{self, Asker, Key, KeyedResource, OperationRecord, Replay, StoreError, Tx};

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The volume; `None` to create one.
    pub volume_id: Option<VolumeId>,
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub asker: Asker,
    /// The client's idempotency key.
    pub key: Option<Key>,
}

/// Admits what was submitted and records it, in one transaction.
pub(super) fn record(
    tx: &Tx<'_>,
    world: &World,
    submission: Submission,
) -> Result<OperationRecord, OperationError> {
    let Submission {
        volume_id,
        mut request,
        asker,
        key,
    } = submission;
    if let Some(key) = &key {
        match store::idempotency::look_up(tx, key, KeyedResource::Operation)? {
            Replay::New => {}
            Replay::Other => return Err(key_reused().into()),
            Replay::Same(id) => return existing(tx, &id),
        }
    }
    let limits = world.cloud.capabilities();
    fit_size(&mut request, limits)?;
    let volume = match volume_id {
        None => match &request {
            Request::Adopt { .. } => adoption::new_record(tx, world, &request)?,
            _ => new_volume(tx, world, &request)?,
        },
        Some(id) => {
            restored::require_proven(tx, id)?;
            admit(&request, &situation(tx, world, id, limits)?)?;
            id
        }
    };
    if let Request::SnapshotCreate { snapshot_id, name } = &request {
        let size = store::volumes::get(tx, volume)?.map_or(Bytes(0), |v| v.size);
        store::snapshots::insert(tx, *snapshot_id, volume, name, size)?;
    }
    let id = OperationId::new();
    store::operations::insert(tx, id, volume, &request, &asker)?;
    if let Some(key) = &key {
        store::idempotency::record(tx, key, KeyedResource::Operation, &id.to_string())?;
    }
    existing(tx, &id.to_string())
}

fn existing(tx: &Tx<'_>, id: &str) -> Result<OperationRecord, OperationError> {
    let stale = || StoreError::Stale(format!("operation {id} has no record"));
    let parsed: OperationId = id.parse().map_err(|_| stale())?;
    Ok(store::operations::get(tx, parsed)?.ok_or_else(stale)?)
}

/// Rounds a wanted size up to the provider's unit; one that the provider cannot do is refused.
fn fit_size(request: &mut Request, limits: Capabilities) -> Result<(), Failure> {
    let (Request::Create { size_bytes, .. } | Request::Resize { size_bytes }) = request else {
        return Ok(());
    };
    let wanted = Bytes(*size_bytes);
    let fitting = wanted
        .round_up_to(limits.size_unit)
        .filter(|&size| size <= limits.max_size && size.0 > 0);
    let refused = || {
        let text = format!(
            "{wanted} is not between {} and {}",
            limits.size_unit, limits.max_size
        );
        Failure::new(ErrorCode::SizeOutOfRange, text)
    };
    *size_bytes = fitting.ok_or_else(refused)?.0;
    Ok(())
}

fn new_volume(tx: &Tx<'_>, world: &World, request: &Request) -> Result<VolumeId, OperationError> {
    let Request::Create {
        name,
        size_bytes,
        source,
    } = request
    else {
        return Err(Failure::new(ErrorCode::Internal, "only a create has no volume yet").into());
    };
    if let Some(source) = source
        && let Some(taken) = store::volumes::for_source(tx, source)?
    {
        let text = format!(
            "disk `{}` of VM `{}` has volume {} already",
            source.disk, source.vm, taken.id
        );
        return Err(Failure::new(ErrorCode::SourceTaken, text)
            .hint("use that volume, or delete it first")
            .into());
    }
    let id = VolumeId::new();
    let row = NewRow {
        name,
        size: Bytes(*size_bytes),
        source: source.as_ref(),
    };
    store::volumes::insert(tx, id, world.cloud.provider(), &row)?;
    Ok(id)
}

fn situation(
    tx: &Tx<'_>,
    world: &World,
    id: VolumeId,
    limits: Capabilities,
) -> Result<Situation, OperationError> {
    let volume = store::volumes::get(tx, id)?.filter(|v| v.state != VolumeState::Deleted);
    Ok(Situation {
        volume: volume.ok_or_else(|| no_volume(id))?,
        attachment: store::attachments::live(tx, id)?,
        open: store::operations::open_for(tx, id)?.map(|op| op.id),
        leases: store::leases::live_of(tx, id)?,
        snapshots: store::snapshots::of_volume(tx, id)?,
        own_vm: world.own_vm.clone(),
        max_size: limits.max_size,
        now: tx.now(),
    })
}

pub(super) fn record_cancel(
    tx: &Tx<'_>,
    id: OperationId,
    asker: &Asker,
) -> Result<OperationRecord, OperationError> {
    let missing = || {
        Failure::new(
            ErrorCode::OperationNotFound,
            format!("there is no operation {id}"),
        )
    };
    let op = store::operations::get(tx, id)?.ok_or_else(missing)?;
    let journal: Vec<_> = store::journal::read(tx, id)?
        .into_iter()
        .map(|record| record.line)
        .collect();
    if op.status.is_final() {
        let text = format!("operation {id} has ended: it is {}", op.status);
        return Err(Failure::new(ErrorCode::NotCancellable, text).into());
    }
    if op.failure.is_none() && is_past_return(steps::of(op.request.kind()), &journal) {
        let text = format!("operation {id} has passed the point where it can be taken back");
        return Err(Failure::new(ErrorCode::NotCancellable, text)
            .hint("wait for it to end")
            .into());
    }
    store::operations::request_cancel(tx, id)?;
    store::audit::append(
        tx,
        &store::AuditEntry {
            actor: &asker.actor,
            action: "cancel",
            volume_id: Some(op.volume_id),
            operation_id: Some(id),
            ..store::AuditEntry::default()
        },
    )?;
    existing(tx, &id.to_string())
}

pub(super) fn no_volume(id: VolumeId) -> Failure {
    Failure::new(ErrorCode::VolumeNotFound, format!("there is no volume {id}"))
}

/// That an idempotency key was used for something else.
#[must_use]
pub fn key_reused() -> Failure {
    Failure::new(
        ErrorCode::IdempotencyKeyReused,
        "this idempotency key was used for another request",
    )
    .hint("use a new key for a new request")
}
