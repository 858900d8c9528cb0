//! Every request that the daemon answers.

use volume_client::types::ErrorCode::{
    AlreadyAttached, AlreadyRecorded, AttachedElsewhere, CloudRefused, CloudUnavailable,
    ConfirmationRequired, DatabaseRestored, DeviceAmbiguous, DeviceBusy, DeviceChanged, DeviceMissing,
    DeviceUnverifiable, FindingNotFound, ForeignVm, HasSnapshots, InvalidRequest, LeaseNotFound, NoSpace,
    NotAttached, NotCancellable, NotReady, OperationInProgress, OperationNotFound, PersonNeeded,
    ProviderVolumeNotFound, ShrinkRefused, SizeMismatch, SizeOutOfRange, SnapshotNotFound, SourceTaken,
    StoreFull, VolumeLeased, VolumeNotFound, WrongState,
};
use volume_client::types::{
    AdoptVolume, AttachVolume, AuditLine, Device, DoctorReport, ErrorCode, Event, Explanation, Finding,
    IgnoreFinding, Lease, LeaseGrant, LeaseId, Mapping, NewLease, NewSnapshot, NewVolume, Operation,
    OperationId, OperationKind, OperationStatus, Readiness, ReconcileReport, ReconcileRequest, RenewLease,
    RepairStarted, ResizeVolume, Snapshot, Status, Volume, VolumeDevice, VolumeId, VolumeState,
};

use super::describe::{Described, delete, get, post};
use super::tokens;
use crate::model::Scope;

/// What any operation on a volume may be refused with.
const ON_A_VOLUME: &[ErrorCode] = &[VolumeNotFound, OperationInProgress, WrongState, DatabaseRestored];

/// What is wrong with a device that is not handed out.
const OF_DEVICES: &[ErrorCode] = &[
    DeviceMissing,
    DeviceAmbiguous,
    SizeMismatch,
    DeviceChanged,
    DeviceUnverifiable,
    AttachedElsewhere,
];

/// What the cloud may say.
const OF_THE_CLOUD: &[ErrorCode] = &[CloudRefused, CloudUnavailable, NoSpace];

/// Every request.
pub(super) fn requests() -> Vec<Described> {
    let mut all = volumes();
    all.extend(snapshots());
    all.extend(operations());
    all.extend(devices());
    all.extend(leases());
    all.extend(findings());
    all.extend(tokens::requests());
    all.extend(the_daemon());
    all
}

trait Accepts {
    fn accepted(self) -> Self;
}

impl Accepts for Described {
    /// The request is answered with an operation that goes on.
    fn accepted(self) -> Self {
        self.waits()
            .answers::<Operation>("202", "the operation; `Location` is its address")
            .fails(OF_THE_CLOUD)
    }
}

fn volumes() -> Vec<Described> {
    vec![
        get(
            "/api/v1/volumes",
            "list_volumes",
            "Volumes that are not deleted, oldest first",
        )
        .text("source_vm", "only for disks of this source VM")
        .text("source_disk", "only for this disk of the source VM")
        .typed::<VolumeState>("state", "only in this state")
        .text("name", "only of this name")
        .paged::<VolumeId>()
        .lists::<Volume>("one page"),
        post("/api/v1/volumes", "create_volume", "Create a volume")
            .takes::<NewVolume>()
            .accepted()
            .fails(&[SourceTaken, SizeOutOfRange]),
        post(
            "/api/v1/volumes/adopt",
            "adopt_volume",
            "Make a record of a volume that the provider has, and take over its attachment here",
        )
        .takes::<AdoptVolume>()
        .accepted()
        .fails(&[ProviderVolumeNotFound, AlreadyRecorded, WrongState])
        .fails(OF_DEVICES),
        get("/api/v1/volumes/{volume_id}", "get_volume", "A volume")
            .answers::<Volume>("200", "the volume")
            .fails(&[VolumeNotFound]),
        delete(
            "/api/v1/volumes/{volume_id}",
            "delete_volume",
            "Delete a volume and its data",
        )
        .text(
            "confirm_name",
            "the volume's name, where its device was ever handed out",
        )
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[ConfirmationRequired, HasSnapshots, VolumeLeased]),
        post(
            "/api/v1/volumes/{volume_id}/attach",
            "attach_volume",
            "Attach a volume and find its device",
        )
        .takes::<AttachVolume>()
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[AlreadyAttached, ForeignVm])
        .fails(OF_DEVICES),
        post(
            "/api/v1/volumes/{volume_id}/detach",
            "detach_volume",
            "Detach a volume",
        )
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[NotAttached, VolumeLeased, DeviceBusy]),
        post(
            "/api/v1/volumes/{volume_id}/resize",
            "resize_volume",
            "Make a volume larger",
        )
        .takes::<ResizeVolume>()
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[ShrinkRefused, SizeOutOfRange, VolumeLeased, HasSnapshots]),
        post(
            "/api/v1/volumes/{volume_id}/correlate",
            "correlate_volume",
            "Find the device of an attached volume anew",
        )
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[NotAttached, VolumeLeased])
        .fails(OF_DEVICES),
        get(
            "/api/v1/volumes/{volume_id}/device",
            "get_device",
            "The volume's device, verified against the kernel for this very answer",
        )
        .answers::<VolumeDevice>("200", "the device")
        .fails(&[VolumeNotFound, NotAttached, WrongState, NotReady])
        .fails(OF_DEVICES),
        get(
            "/api/v1/volumes/{volume_id}/explain",
            "explain_volume",
            "What record, cloud and kernel say of a volume now, and what comes next",
        )
        .answers::<Explanation>("200", "the volume explained")
        .fails(&[VolumeNotFound]),
    ]
}

fn snapshots() -> Vec<Described> {
    vec![
        get(
            "/api/v1/volumes/{volume_id}/snapshots",
            "list_snapshots",
            "A volume's snapshots, oldest first",
        )
        .lists::<Snapshot>("all of them")
        .fails(&[VolumeNotFound]),
        post(
            "/api/v1/volumes/{volume_id}/snapshots",
            "take_snapshot",
            "Take a snapshot",
        )
        .takes::<NewSnapshot>()
        .accepted()
        .fails(ON_A_VOLUME),
        get(
            "/api/v1/volumes/{volume_id}/snapshots/{snapshot_id}",
            "get_snapshot",
            "A snapshot",
        )
        .answers::<Snapshot>("200", "the snapshot")
        .fails(&[VolumeNotFound, SnapshotNotFound]),
        delete(
            "/api/v1/volumes/{volume_id}/snapshots/{snapshot_id}",
            "delete_snapshot",
            "Delete a snapshot",
        )
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[SnapshotNotFound]),
        post(
            "/api/v1/volumes/{volume_id}/snapshots/{snapshot_id}/revert",
            "revert_snapshot",
            "Put a volume back to a snapshot",
        )
        .accepted()
        .fails(ON_A_VOLUME)
        .fails(&[SnapshotNotFound, VolumeLeased, DeviceBusy]),
    ]
}

fn operations() -> Vec<Described> {
    vec![
        get(
            "/api/v1/operations",
            "list_operations",
            "Operations, oldest first",
        )
        .typed::<OperationStatus>("status", "only with this status")
        .typed::<OperationKind>("type", "only of this kind")
        .typed::<VolumeId>("volume_id", "only of this volume")
        .paged::<OperationId>()
        .lists::<Operation>("one page"),
        get(
            "/api/v1/operations/{operation_id}",
            "get_operation",
            "An operation with its steps",
        )
        .waits()
        .answers::<Operation>("200", "the operation as it is now")
        .fails(&[OperationNotFound, InvalidRequest]),
        post(
            "/api/v1/operations/{operation_id}/cancel",
            "cancel_operation",
            "Ask that an operation be withdrawn",
        )
        .accepted()
        .fails(&[OperationNotFound, NotCancellable]),
    ]
}

fn devices() -> Vec<Described> {
    vec![
        get(
            "/api/v1/devices",
            "list_devices",
            "The block devices of this machine, as the kernel has them",
        )
        .lists::<Device>("all of them")
        .fails(&[NotReady]),
        get(
            "/api/v1/mappings",
            "list_mappings",
            "Which volume has which device, as it is recorded",
        )
        .lists::<Mapping>("all of them"),
    ]
}

fn leases() -> Vec<Described> {
    vec![
        get(
            "/api/v1/leases",
            "list_leases",
            "Leases that have not ended, oldest first",
        )
        .paged::<LeaseId>()
        .lists::<Lease>("one page"),
        post(
            "/api/v1/leases",
            "take_lease",
            "Take a lease and get the verified device",
        )
        .takes::<NewLease>()
        .answers::<LeaseGrant>("201", "the lease; `Location` is its address")
        .fails(ON_A_VOLUME)
        .fails(&[VolumeLeased, NotAttached, DeviceBusy])
        .fails(OF_DEVICES),
        get(
            "/api/v1/leases/{lease_id}",
            "get_lease",
            "A lease that has not ended",
        )
        .answers::<Lease>("200", "the lease")
        .fails(&[LeaseNotFound]),
        delete("/api/v1/leases/{lease_id}", "release_lease", "Give a lease back")
            .answers_plainly("204", "it has ended, now or before")
            .fails(&[LeaseNotFound]),
        post(
            "/api/v1/leases/{lease_id}/renew",
            "renew_lease",
            "Show that a lease is still needed",
        )
        .may_take::<RenewLease>()
        .answers::<Lease>("200", "the lease")
        .fails(&[LeaseNotFound]),
    ]
}

fn findings() -> Vec<Described> {
    vec![
        get(
            "/api/v1/findings",
            "list_findings",
            "Where cloud, kernel and records do not agree",
        )
        .lists::<Finding>("all of them, those that are passed over included"),
        get("/api/v1/findings/{finding_id}", "get_finding", "A finding")
            .answers::<Finding>("200", "the finding")
            .fails(&[FindingNotFound]),
        post(
            "/api/v1/findings/{finding_id}/repair",
            "repair_finding",
            "Do what mends a finding",
        )
        .waits()
        .answers::<RepairStarted>("202", "the operation that does it; `Location` is its address")
        .answers::<RepairStarted>("200", "it is done")
        .fails(&[
            FindingNotFound,
            PersonNeeded,
            VolumeLeased,
            AlreadyAttached,
            NotAttached,
        ])
        .fails(ON_A_VOLUME),
        post(
            "/api/v1/findings/{finding_id}/ignore",
            "ignore_finding",
            "Pass a finding over: it stays listed, and nothing is done about it",
        )
        .takes::<IgnoreFinding>()
        .answers::<Finding>("200", "the finding")
        .fails(&[FindingNotFound]),
        delete(
            "/api/v1/findings/{finding_id}/ignore",
            "heed_finding",
            "Heed a finding again",
        )
        .answers_plainly("204", "it is heeded, now or before")
        .fails(&[FindingNotFound]),
        post(
            "/api/v1/reconcile",
            "reconcile",
            "Compare cloud, kernel and records now",
        )
        .may_take::<ReconcileRequest>()
        .answers::<ReconcileReport>("200", "what was found, and what is or would be done"),
    ]
}

fn the_daemon() -> Vec<Described> {
    vec![
        get(
            "/api/v1/audit",
            "list_audit",
            "Who did what and why, newest first",
        )
        .typed::<VolumeId>("volume_id", "only of this volume")
        .paged_by_number()
        .lists::<AuditLine>("one page"),
        get(
            "/api/v1/events",
            "follow_events",
            "What changes, as server-sent events; ends when the daemon stops",
        )
        .header("Last-Event-ID", "go on after this event")
        .number(
            "after",
            i64::MIN.into()..=i64::MAX.into(),
            "the same, where the header cannot be set; only new events where both are absent",
        )
        .answers_as::<Event>("200", "each `data` is an event", "text/event-stream")
        .fails(&[InvalidRequest]),
        get("/api/v1/status", "get_status", "How the daemon stands")
            .answers::<Status>("200", "how it stands"),
        get(
            "/api/v1/doctor",
            "examine",
            "Examine the daemon, its cloud, the devices and the machine; takes some seconds and changes nothing",
        )
        .answers::<DoctorReport>("200", "what was checked, how it is, and what to do"),
        get(
            "/api/v1/database/backup",
            "back_up",
            "A copy of the daemon's database, made while it works; `Repr-Digest` (RFC 9530) has its SHA-256",
        )
        .needs(Scope::Admin)
        .answers_plainly("200", "the SQLite file, as `application/vnd.sqlite3`")
        .fails(&[StoreFull, NotReady]),
        get("/healthz", "is_alive", "Whether the daemon answers at all").open().answers_plainly("200", "it does"),
        get("/readyz", "is_ready", "Whether the daemon takes work")
            .open()
            .answers::<Readiness>("200", "it does")
            .answers::<Readiness>("503", "it does not, and why"),
        get("/metrics", "get_metrics", "Counts, as OpenMetrics text").answers_plainly("200", "the counts"),
        get("/openapi.json", "get_openapi", "This description").open().answers_plainly("200", "the description"),
    ]
}
