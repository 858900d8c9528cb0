//! The reference model: what a request may be answered, by what is known of its volume. Small, pure, and written from the
//! documentation, not from the rules of admission.

use std::collections::BTreeSet;

use rusqlite::Connection;
use volumed::model::{ErrorCode, OperationKind, OperationStatus, Request, VolumeId, VolumeState};
use volumed::store::{self, LeaseRecord, OperationRecord, SnapshotRecord, StoreError, VolumeRecord};

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) volume: Option<VolumeRecord>,
    pub(crate) open: Option<OperationRecord>,
    pub(crate) leases: Vec<LeaseRecord>,
    pub(crate) snapshots: Vec<SnapshotRecord>,
}

impl Seen {
    pub(crate) fn of(conn: &Connection, id: VolumeId) -> Result<Self, StoreError> {
        let volume = store::volumes::get(conn, id)?;
        Ok(Self {
            volume: volume.filter(|v| v.state != VolumeState::Deleted),
            open: store::operations::open_for(conn, id)?,
            leases: store::leases::live_of(conn, id)?,
            snapshots: store::snapshots::of_volume(conn, id)?,
        })
    }
}

/// The one answer to the request: taken, or refused with this code.
pub(crate) fn answer(request: &Request, at: &Seen, now: jiff::Timestamp) -> Result<(), ErrorCode> {
    use ErrorCode as E;
    let Some(volume) = &at.volume else {
        return Err(E::VolumeNotFound);
    };
    if at.open.is_some() {
        return Err(E::OperationInProgress);
    }
    let attached = volume.state == VolumeState::InUse;
    let leased = attached && at.leases.iter().any(|lease| lease.expires_at >= now);
    let snapshot = |id| at.snapshots.iter().any(|s| s.id == id);
    let or = |is_so: bool, code| if is_so { Ok(()) } else { Err(code) };
    match request {
        // No history adopts yet.
        Request::Create { .. } | Request::Adopt { .. } => Ok(()),
        Request::Attach { .. } => or(!attached, E::AlreadyAttached),
        Request::Correlate {} => or(attached, E::NotAttached),
        Request::Detach {} if !attached => Err(E::NotAttached),
        Request::Detach {} => or(!leased, E::VolumeLeased),
        Request::Delete { .. } if attached => Err(E::WrongState),
        Request::Delete { .. } if !at.snapshots.is_empty() => Err(E::HasSnapshots),
        Request::Delete { confirm_name } => {
            let is_named = confirm_name.as_ref() == Some(&volume.name);
            or(
                is_named || (confirm_name.is_none() && !volume.handed_out),
                E::ConfirmationRequired,
            )
        }
        Request::Resize { size_bytes } if *size_bytes < volume.size.0 => Err(E::ShrinkRefused),
        Request::Resize { .. } => or(!leased, E::VolumeLeased),
        Request::SnapshotCreate { name, .. } if at.snapshots.iter().any(|s| s.name == *name) => {
            Err(E::WrongState)
        }
        Request::SnapshotCreate { .. } => or(!leased, E::VolumeLeased),
        Request::SnapshotRevert { snapshot_id } if !snapshot(*snapshot_id) => Err(E::SnapshotNotFound),
        Request::SnapshotRevert { .. } => or(!attached, E::WrongState),
        Request::SnapshotDelete { snapshot_id } => or(snapshot(*snapshot_id), E::SnapshotNotFound),
    }
}

/// In which state an ended operation may leave its volume, as long as nothing comes after it.
pub(crate) fn leaves(kind: OperationKind, status: OperationStatus) -> BTreeSet<&'static str> {
    use VolumeState::{Available, Deleted, InUse};
    let states: &[VolumeState] = match (kind, status == OperationStatus::Completed) {
        (OperationKind::Create, true) => &[Available],
        (OperationKind::Create, false) => &[Deleted],
        (OperationKind::Attach, true) => &[InUse],
        (OperationKind::Attach, false) => &[Available],
        (OperationKind::Detach, true) => &[Available],
        (OperationKind::Detach, false) => &[InUse],
        (OperationKind::Delete, true) => &[Deleted],
        (OperationKind::Delete, false) => &[Available],
        (OperationKind::Correlate, true) => &[InUse],
        (OperationKind::SnapshotRevert, _) => &[Available],
        _ => &[Available, InUse],
    };
    states.iter().map(|state| state.as_str()).collect()
}
