//! The rules of admission, one case per line.

use super::*;
use crate::model::{LeaseAccess, LeaseId, LeasePurpose, SnapshotId, VolumeId};

fn situation(state: VolumeState) -> Situation {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let id = VolumeId::new();
    let attachment = (state == VolumeState::InUse).then(|| AttachmentRecord {
        id: 1,
        volume_id: id,
        vm_id: "here".into(),
        generation: 1,
        state: AttachmentState::Attached,
        baseline: None,
        mark: None,
        attached_at: Some(now),
    });
    Situation {
        volume: VolumeRecord {
            id,
            name: "web-01".into(),
            size: Bytes::GIB,
            state,
            provider: "local".into(),
            provider_ref: Some("ref".into()),
            identity: None,
            source: None,
            generation: 1,
            fresh_zero: true,
            written: false,
            handed_out: false,
            created_at: now,
            updated_at: now,
        },
        attachment,
        open: None,
        leases: vec![],
        snapshots: vec![],
        own_vm: "here".into(),
        max_size: Bytes(1 << 40),
        now,
    }
}

fn lease(at: &Situation, ttl: i64) -> LeaseRecord {
    LeaseRecord {
        id: LeaseId::new(),
        volume_id: at.volume.id,
        generation: 1,
        purpose: LeasePurpose::Transfer,
        access: LeaseAccess::Write,
        holder: "engine".into(),
        detail: None,
        known_zero: false,
        ttl_seconds: 60,
        acquired_at: at.now,
        expires_at: at.now + jiff::SignedDuration::from_secs(ttl),
        released_at: None,
    }
}

fn code(request: &Request, at: &Situation) -> Option<ErrorCode> {
    match admit(request, at) {
        Ok(()) => None,
        Err(OperationError::Refused { failure, .. }) => Some(failure.code),
        Err(other) => panic!("{other}"),
    }
}

fn attach_to(vm: &str) -> Request {
    Request::Attach { vm_id: vm.into() }
}

#[test]
fn an_open_operation_refuses_every_other_and_is_named() {
    let mut at = situation(VolumeState::Available);
    at.open = Some(OperationId::new());
    let refused = admit(&attach_to("here"), &at).unwrap_err();
    assert!(matches!(refused, OperationError::Refused { operation, .. } if operation == at.open));
}

#[test]
fn attach_takes_an_available_volume_to_this_vm_only() {
    assert_eq!(code(&attach_to("here"), &situation(VolumeState::Available)), None);
    assert_eq!(
        code(&attach_to("there"), &situation(VolumeState::Available)),
        Some(ErrorCode::ForeignVm)
    );
    assert_eq!(
        code(&attach_to("here"), &situation(VolumeState::InUse)),
        Some(ErrorCode::AlreadyAttached)
    );
    for state in [
        VolumeState::Creating,
        VolumeState::Detaching,
        VolumeState::Error,
        VolumeState::Deleting,
    ] {
        assert_eq!(
            code(&attach_to("here"), &situation(state)),
            Some(ErrorCode::WrongState),
            "{state}"
        );
    }
}

#[test]
fn a_live_lease_refuses_detach_resize_and_snapshot_but_a_lapsed_one_does_not() {
    for request in [
        Request::Detach {},
        Request::Resize { size_bytes: 2 << 30 },
        Request::SnapshotCreate {
            snapshot_id: SnapshotId::new(),
            name: "s".into(),
        },
    ] {
        let mut at = situation(VolumeState::InUse);
        assert_eq!(code(&request, &at), None);
        at.leases = vec![lease(&at, 1)];
        assert_eq!(code(&request, &at), Some(ErrorCode::VolumeLeased), "{request:?}");
        at.leases = vec![lease(&at, -1)];
        assert_eq!(code(&request, &at), None, "{request:?}");
    }
}

#[test]
fn a_volume_that_was_handed_out_is_deleted_only_by_its_name() {
    let mut at = situation(VolumeState::Available);
    let delete = |name: Option<&str>| Request::Delete {
        confirm_name: name.map(str::to_owned),
    };
    assert_eq!(code(&delete(None), &at), None);
    assert_eq!(
        code(&delete(Some("other")), &at),
        Some(ErrorCode::ConfirmationRequired)
    );
    at.volume.handed_out = true;
    assert_eq!(code(&delete(None), &at), Some(ErrorCode::ConfirmationRequired));
    assert_eq!(code(&delete(Some("web-01")), &at), None);
    assert_eq!(
        code(&delete(Some("web-01")), &situation(VolumeState::InUse)),
        Some(ErrorCode::WrongState)
    );
}

#[test]
fn a_volume_only_grows() {
    let at = situation(VolumeState::Available);
    assert_eq!(
        code(
            &Request::Resize {
                size_bytes: (1 << 30) - 1
            },
            &at
        ),
        Some(ErrorCode::ShrinkRefused)
    );
    assert_eq!(code(&Request::Resize { size_bytes: 1 << 30 }, &at), None);
    assert_eq!(
        code(
            &Request::Resize {
                size_bytes: (1 << 40) + 1
            },
            &at
        ),
        Some(ErrorCode::SizeOutOfRange)
    );
}

#[test]
fn snapshots_guard_their_volume_and_their_names() {
    let mut at = situation(VolumeState::Available);
    let snapshot = SnapshotRecord {
        id: SnapshotId::new(),
        volume_id: at.volume.id,
        name: "before".into(),
        size: at.volume.size,
        state: SnapshotState::Ready,
        snapshot_ref: Some("x".into()),
        created_at: at.now,
    };
    at.snapshots = vec![snapshot.clone()];
    assert_eq!(
        code(&Request::Delete { confirm_name: None }, &at),
        Some(ErrorCode::HasSnapshots)
    );
    let again = Request::SnapshotCreate {
        snapshot_id: SnapshotId::new(),
        name: "before".into(),
    };
    assert_eq!(code(&again, &at), Some(ErrorCode::WrongState));
    assert_eq!(
        code(
            &Request::SnapshotRevert {
                snapshot_id: snapshot.id
            },
            &at
        ),
        None
    );
    let unknown = Request::SnapshotRevert {
        snapshot_id: SnapshotId::new(),
    };
    assert_eq!(code(&unknown, &at), Some(ErrorCode::SnapshotNotFound));
    at.volume.state = VolumeState::InUse;
    assert_eq!(
        code(
            &Request::SnapshotRevert {
                snapshot_id: snapshot.id
            },
            &at
        ),
        Some(ErrorCode::WrongState)
    );
}
