//! Whether a request may start: pure rules over what is recorded, asked in the transaction that records the operation.

use jiff::Timestamp;

use super::OperationError;
use crate::model::{
    AttachmentState, Bytes, ErrorCode, Failure, OperationId, Request, SnapshotState, VolumeState,
};
use crate::store::{AttachmentRecord, LeaseRecord, SnapshotRecord, VolumeRecord};

/// What is recorded about a volume when something is asked of it.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub(super) volume: VolumeRecord,
    pub(super) attachment: Option<AttachmentRecord>,
    pub(super) open: Option<OperationId>,
    pub(super) leases: Vec<LeaseRecord>,
    pub(super) snapshots: Vec<SnapshotRecord>,
    pub(super) own_vm: String,
    pub(super) max_size: Bytes,
    pub(super) now: Timestamp,
}

/// Whether `request` may start.
pub(super) fn admit(request: &Request, at: &Situation) -> Result<(), OperationError> {
    if let Some(open) = at.open {
        let failure = Failure::new(
            ErrorCode::OperationInProgress,
            format!("operation {open} is under way on volume {}", at.volume.id),
        );
        let failure = failure.hint("wait for it to end, or cancel it");
        return Err(OperationError::Refused {
            failure,
            operation: Some(open),
        });
    }
    match request {
        // Both make their volume's record; what can be known without the cloud is judged where they do.
        Request::Create { .. } | Request::Adopt { .. } => Ok(()),
        Request::Attach { vm_id } => attach(vm_id, at),
        Request::Detach {} => detach(at),
        Request::Delete { confirm_name } => delete(confirm_name.as_deref(), at),
        Request::Resize { size_bytes } => resize(Bytes(*size_bytes), at),
        Request::Correlate {} => correlate(at),
        Request::SnapshotCreate { name, .. } => take_snapshot(name, at),
        Request::SnapshotRevert { snapshot_id } => {
            ready_snapshot(*snapshot_id, at)?;
            detached(at, "put back to a snapshot")
        }
        Request::SnapshotDelete { snapshot_id } => ready_snapshot(*snapshot_id, at),
    }
    .map_err(OperationError::from)
}

fn attach(vm: &str, at: &Situation) -> Result<(), Failure> {
    let volume = at.volume.id;
    if vm != at.own_vm {
        let text = format!("this daemon attaches to VM `{}` only, not to `{vm}`", at.own_vm);
        return Err(Failure::new(ErrorCode::ForeignVm, text)
            .hint("ask the volumed that runs in that VM; GET /api/v1/status tells this one's VM"));
    }
    match at.volume.state {
        VolumeState::Available => Ok(()),
        VolumeState::InUse => Err(Failure::new(
            ErrorCode::AlreadyAttached,
            format!("volume {volume} is attached to VM `{vm}` already"),
        )
        .hint(format!("GET /api/v1/volumes/{volume}/device tells its device"))),
        _ => Err(wrong_state(at, "attached")),
    }
}

fn detach(at: &Situation) -> Result<(), Failure> {
    match at.volume.state {
        VolumeState::InUse => unleased(at, "detached"),
        VolumeState::Available => Err(Failure::new(
            ErrorCode::NotAttached,
            format!("volume {} is not attached", at.volume.id),
        )),
        _ => Err(wrong_state(at, "detached")),
    }
}

fn delete(confirm_name: Option<&str>, at: &Situation) -> Result<(), Failure> {
    detached(at, "deleted")?;
    if !at.snapshots.is_empty() {
        let text = format!("volume {} has {} snapshots", at.volume.id, at.snapshots.len());
        return Err(Failure::new(ErrorCode::HasSnapshots, text).hint("delete its snapshots first"));
    }
    match confirm_name {
        Some(name) if name == at.volume.name => Ok(()),
        Some(name) => Err(Failure::new(
            ErrorCode::ConfirmationRequired,
            format!("volume {} is not named `{name}`", at.volume.id),
        )
        .hint("confirm_name must be the volume's name")),
        None if !at.volume.handed_out => Ok(()),
        None => Err(Failure::new(
            ErrorCode::ConfirmationRequired,
            format!(
                "volume {} was attached before and may hold copied data",
                at.volume.id
            ),
        )
        .hint("repeat with confirm_name set to the volume's name")),
    }
}

fn resize(size: Bytes, at: &Situation) -> Result<(), Failure> {
    if size < at.volume.size {
        let text = format!(
            "volume {} has {}, more than the {size} asked for",
            at.volume.id, at.volume.size
        );
        return Err(Failure::new(ErrorCode::ShrinkRefused, text).hint("a volume can only grow"));
    }
    if size > at.max_size {
        let text = format!("{size} is more than the {} that the provider can do", at.max_size);
        return Err(Failure::new(ErrorCode::SizeOutOfRange, text));
    }
    match at.volume.state {
        VolumeState::Available => Ok(()),
        VolumeState::InUse => unleased(at, "resized"),
        _ => Err(wrong_state(at, "resized")),
    }
}

fn correlate(at: &Situation) -> Result<(), Failure> {
    let attached = at
        .attachment
        .as_ref()
        .is_some_and(|a| a.state == AttachmentState::Attached);
    match at.volume.state {
        VolumeState::InUse | VolumeState::Error if attached => Ok(()),
        VolumeState::Available => Err(Failure::new(
            ErrorCode::NotAttached,
            format!("volume {} is not attached", at.volume.id),
        )
        .hint("attach it")),
        _ => Err(wrong_state(at, "correlated")),
    }
}

fn take_snapshot(name: &str, at: &Situation) -> Result<(), Failure> {
    if at.snapshots.iter().any(|s| s.name == name) {
        let text = format!("volume {} has a snapshot `{name}` already", at.volume.id);
        return Err(
            Failure::new(ErrorCode::WrongState, text).hint("choose another name, or delete that snapshot")
        );
    }
    match at.volume.state {
        VolumeState::Available => Ok(()),
        VolumeState::InUse => unleased(at, "snapshotted"),
        _ => Err(wrong_state(at, "snapshotted")),
    }
}

fn ready_snapshot(id: crate::model::SnapshotId, at: &Situation) -> Result<(), Failure> {
    let missing = || {
        Failure::new(
            ErrorCode::SnapshotNotFound,
            format!("volume {} has no snapshot {id}", at.volume.id),
        )
    };
    let snapshot = at.snapshots.iter().find(|s| s.id == id).ok_or_else(missing)?;
    match snapshot.state {
        SnapshotState::Ready | SnapshotState::Deleting => Ok(()),
        state => Err(Failure::new(
            ErrorCode::WrongState,
            format!("snapshot {id} is {state}"),
        )),
    }
}

fn detached(at: &Situation, done: &str) -> Result<(), Failure> {
    match at.volume.state {
        VolumeState::Available => Ok(()),
        VolumeState::InUse => {
            let text = format!("volume {} is attached and cannot be {done}", at.volume.id);
            Err(Failure::new(ErrorCode::WrongState, text).hint("detach it first"))
        }
        _ => Err(wrong_state(at, done)),
    }
}

/// That nobody holds a lease that still counts. One that was not renewed in time is looked into by the operation itself.
fn unleased(at: &Situation, done: &str) -> Result<(), Failure> {
    let Some(lease) = at.leases.iter().find(|lease| !lease.expired(at.now)) else {
        return Ok(());
    };
    let text = format!(
        "volume {} cannot be {done}: {} holds lease {} for {}{}",
        at.volume.id,
        lease.holder,
        lease.id,
        lease.purpose,
        lease
            .detail
            .as_ref()
            .map(|d| format!(" ({d})"))
            .unwrap_or_default(),
    );
    Err(Failure::new(ErrorCode::VolumeLeased, text)
        .hint("end what uses it; `volumectl leases release` ends a lease whose holder is gone"))
}

fn wrong_state(at: &Situation, done: &str) -> Failure {
    let text = format!(
        "volume {} is {} and cannot be {done}",
        at.volume.id, at.volume.state
    );
    Failure::new(ErrorCode::WrongState, text).hint("see its conditions and its latest operation")
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
