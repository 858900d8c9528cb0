//! Things as the daemon would tell them, the same in every test.

use jiff::Timestamp;
use serde_json::json;
use volume_client::types::{
    Attachment, AttachmentState, AuditLine, CheckArea, CheckStatus, Counts, Device, DoctorCheck,
    DoctorReport, Event, EventKind, Explanation, Finding, FindingKind, FindingRepair, Lease, LeaseAccess,
    LeaseGrant, LeasePurpose, Mapping, Operation, OperationKind, OperationStatus, Readiness, Severity,
    Snapshot, SnapshotState, SourceDisk, Status, StepRecord, StepState, Volume, VolumeDevice, VolumeState,
};

pub(crate) const VOLUME: &str = "01900000-0000-7000-8000-000000000001";
pub(crate) const OTHER_VOLUME: &str = "01900000-0000-7000-8000-000000000002";
pub(crate) const OPERATION: &str = "01900000-0000-7000-8000-0000000000a1";
pub(crate) const LEASE: &str = "01900000-0000-7000-8000-0000000000b1";
pub(crate) const FINDING: &str = "0123456789ab";
pub(crate) const STRAY: &str = "c6ef61d1-300f-442a-86e5-e31f482b64ab";
pub(crate) const SNAPSHOT: &str = "01900000-0000-7000-8000-0000000000c1";
pub(crate) const BOOT: &str = "5e0b5d3c-6a5e-4b43-9d43-111111111111";

pub(crate) fn at(text: &str) -> Timestamp {
    format!("2026-01-02T{text}Z").parse().unwrap()
}

pub(crate) fn volume(id: &str, name: &str) -> Volume {
    Volume {
        id: id.parse().unwrap(),
        name: name.to_owned(),
        size_bytes: 10 << 30,
        state: VolumeState::InUse,
        provider: "local".to_owned(),
        provider_volume_id: Some("p-1".to_owned()),
        source: Some(SourceDisk {
            vm: "vm-7".to_owned(),
            disk: "disk-2000".to_owned(),
        }),
        attachment: Some(Attachment {
            vm_id: "appliance-1".to_owned(),
            generation: 3,
            state: AttachmentState::Attached,
            attached_at: Some(at("03:04:05")),
        }),
        handed_out: false,
        known_zero: true,
        operation_id: None,
        conditions: vec![],
        created_at: at("03:00:00"),
        updated_at: at("03:04:05"),
    }
}

pub(crate) fn operation(kind: OperationKind, status: OperationStatus) -> Operation {
    Operation {
        id: OPERATION.parse().unwrap(),
        kind,
        status,
        volume_id: VOLUME.parse().unwrap(),
        vm_id: None,
        request: json!({}),
        response: None,
        error: None,
        error_code: None,
        error_hint: None,
        cancel_requested: false,
        actor: "uid:0".to_owned(),
        request_id: Some("req-9".to_owned()),
        steps: vec![StepRecord {
            step: "reserve".to_owned(),
            state: StepState::Done,
            detail: None,
            at: at("03:04:00"),
        }],
        created_at: at("03:04:00"),
        updated_at: at("03:04:01"),
        completed_at: status.is_final().then(|| at("03:04:01")),
    }
}

pub(crate) fn attached() -> Operation {
    Operation {
        vm_id: Some("appliance-1".to_owned()),
        response: Some(json!({
            "device_path": "/dev/loop7", "message": "attached", "size_bytes": 10u64 << 30, "diskseq": 42,
        })),
        ..operation(OperationKind::Attach, OperationStatus::Completed)
    }
}

pub(crate) fn failed(kind: OperationKind) -> Operation {
    Operation {
        error: Some("no device of that identity came".to_owned()),
        error_code: Some(volume_client::types::ErrorCode::DeviceMissing),
        error_hint: Some("look at the kernel's log".to_owned()),
        ..operation(kind, OperationStatus::Failed)
    }
}

pub(crate) fn volume_device() -> VolumeDevice {
    VolumeDevice {
        volume_id: VOLUME.parse().unwrap(),
        device_path: "/dev/loop7".to_owned(),
        vm_id: "appliance-1".to_owned(),
        attached_at: at("03:04:05"),
        devnum: "7:7".to_owned(),
        size_bytes: 10 << 30,
        identity: "loop:2049:77".to_owned(),
        diskseq: Some(42),
        boot_id: BOOT.to_owned(),
        generation: 3,
        verified_at: at("04:00:00"),
    }
}

pub(crate) fn lease() -> Lease {
    Lease {
        id: LEASE.parse().unwrap(),
        volume_id: VOLUME.parse().unwrap(),
        purpose: LeasePurpose::Transfer,
        access: LeaseAccess::Write,
        holder: "engine".to_owned(),
        detail: Some("job-1".to_owned()),
        acquired_at: at("04:00:00"),
        expires_at: at("04:01:00"),
        expired: false,
    }
}

pub(crate) fn grant(device: VolumeDevice) -> LeaseGrant {
    LeaseGrant {
        lease: lease(),
        device,
        known_zero: true,
    }
}

pub(crate) fn device() -> Device {
    Device {
        device_path: "/dev/loop7".to_owned(),
        devnum: "7:7".to_owned(),
        size_bytes: 10 << 30,
        read_only: false,
        identity: Some("loop:2049:77".to_owned()),
        diskseq: Some(42),
        holders: vec![],
        volume_id: Some(VOLUME.parse().unwrap()),
    }
}

pub(crate) fn mapping() -> Mapping {
    Mapping {
        volume_id: VOLUME.parse().unwrap(),
        identity: "loop:2049:77".to_owned(),
        device_path: "/dev/loop7".to_owned(),
        devnum: "7:7".to_owned(),
        diskseq: Some(42),
        boot_id: BOOT.to_owned(),
        size_bytes: 10 << 30,
        vm_id: "appliance-1".to_owned(),
        pinned: true,
        bound_at: at("03:04:05"),
    }
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        id: SNAPSHOT.parse().unwrap(),
        volume_id: VOLUME.parse().unwrap(),
        name: "before-cutover".to_owned(),
        size_bytes: 10 << 30,
        state: SnapshotState::Ready,
        created_at: at("03:30:00"),
    }
}

pub(crate) fn finding() -> Finding {
    Finding {
        id: FINDING.parse().unwrap(),
        kind: FindingKind::Phantom,
        severity: Severity::Warning,
        volume_id: Some(VOLUME.parse().unwrap()),
        provider_volume_id: None,
        record: "detached".to_owned(),
        cloud: "detached".to_owned(),
        kernel: "loop7 is here".to_owned(),
        repair: "wait for the kernel".to_owned(),
        proposal: None,
        ignored: None,
        operation_id: None,
        since: at("03:40:00"),
    }
}

/// A volume of somebody's that is attached here and has no record.
pub(crate) fn stray() -> Finding {
    Finding {
        id: "fedcba987654".parse().unwrap(),
        kind: FindingKind::AttachedUnknown,
        volume_id: None,
        provider_volume_id: Some(STRAY.to_owned()),
        record: "no record".to_owned(),
        cloud: "`theirs`, attached here".to_owned(),
        kernel: "/dev/vdc".to_owned(),
        repair: "adopt it, or detach it in the cloud".to_owned(),
        proposal: Some(FindingRepair::Adopt),
        ..finding()
    }
}

pub(crate) fn audit() -> AuditLine {
    AuditLine {
        id: 7,
        at: at("03:04:05"),
        actor: "uid:0".to_owned(),
        action: "bind".to_owned(),
        volume_id: Some(VOLUME.parse().unwrap()),
        operation_id: Some(OPERATION.parse().unwrap()),
        why: None,
        before: None,
        after: Some("/dev/loop7\u{1b}[2J diskseq 42".to_owned()),
    }
}

pub(crate) fn explanation() -> Explanation {
    Explanation {
        volume: volume(VOLUME, "web disk"),
        record: "in_use, bound to /dev/loop7 diskseq 42".to_owned(),
        cloud: "attached here".to_owned(),
        kernel: "/dev/loop7, as bound".to_owned(),
        used_by: Some(vec!["/dev/loop7 is open in nbd-server (pid 7)".to_owned()]),
        operation: Some(operation(OperationKind::Resize, OperationStatus::Running)),
        leases: vec![lease()],
        findings: vec![finding()],
        next: "operation goes on by itself".to_owned(),
    }
}

pub(crate) fn status(readiness: Readiness) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        provider: "local".to_owned(),
        vm_id: "appliance-1".to_owned(),
        boot_id: BOOT.to_owned(),
        started_at: at("03:00:00"),
        readiness,
        counts: Counts {
            volumes: 2,
            mapped: 1,
            pinned: 1,
            leases: 1,
            open_operations: 0,
        },
        operations: vec![],
        findings: vec![],
    }
}

/// One check of each area; the last stands as `last` says.
pub(crate) fn doctor(last: CheckStatus) -> DoctorReport {
    let check = |area, name: &str, status, seen: &str, advice: Option<&str>| DoctorCheck {
        area,
        name: name.to_owned(),
        status,
        seen: seen.to_owned(),
        advice: advice.map(str::to_owned),
    };
    DoctorReport {
        version: "0.1.0".to_owned(),
        examined_at: at("04:00:00"),
        checks: vec![
            check(
                CheckArea::Cloud,
                "free space",
                CheckStatus::Passed,
                "40 GiB of 100 GiB are free",
                None,
            ),
            check(
                CheckArea::Host,
                "clock",
                CheckStatus::Warning,
                "the kernel says that its clock is not synchronised",
                Some("run chrony or systemd-timesyncd"),
            ),
            check(
                CheckArea::Devices,
                "links of udev",
                last,
                "virtio-AAAA leads to /dev/vdb, whose serial is B\u{1b}[31mBBB",
                (last != CheckStatus::Passed).then_some("restart systemd-udevd"),
            ),
        ],
    }
}

pub(crate) fn event(id: u64, kind: EventKind) -> Event {
    Event {
        id,
        kind,
        volume_id: Some(VOLUME.parse().unwrap()),
        operation_id: Some(OPERATION.parse().unwrap()),
        data: json!({ "status": "running" }),
        at: at("03:04:00"),
    }
}

/// An event as it travels.
pub(crate) fn frame(event: &Event) -> String {
    let kind = serde_json::to_value(event.kind).unwrap();
    let data = serde_json::to_string(event).unwrap();
    format!(
        "id: {}\nevent: {}\ndata: {data}\n\n",
        event.id,
        kind.as_str().unwrap()
    )
}
