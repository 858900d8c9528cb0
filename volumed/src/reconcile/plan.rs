//! What the three views of a volume mean: pure, one row of a table per case.

use jiff::Timestamp;
use volume_client::types::{FindingKind, FindingRepair, Severity};

use super::finding::{Disagreement, Subject};
use super::standing::Undecided;
use super::strays::{Stray, of_stray};
use super::truth::{Truth, truth};
use super::uses::of_uses;
use crate::model::{Bytes, VolumeState, diskseq_text};
use crate::store::{LeaseRecord, MappingRecord, VolumeRecord};

/// What the cloud says of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CloudView {
    /// It did not answer, or was never asked to make the volume.
    Unknown,
    /// It is at work on the volume; says at what. What it shows of it meanwhile does not last.
    Busy(String),
    /// It no longer has the volume.
    Gone,
    /// It was deleted there, and may still be brought back.
    Deleted,
    /// Attached to nothing.
    Detached,
    /// Attached to this VM.
    AttachedHere,
    /// Attached to another VM.
    AttachedElsewhere(String),
}

/// What the kernel says of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KernelView {
    /// Devices are appearing or going: nothing is concluded.
    Unsettled,
    /// No device has its identity.
    Absent,
    /// The very device that the record is bound to.
    AsBound { node: String },
    /// A device has its identity, but the record is not bound to it.
    Present { node: String, diskseq: Option<u64> },
    /// The device has another size than the volume.
    WrongSize { node: String, size: Bytes },
    /// Several devices have its identity.
    Several { nodes: String },
}

/// The three views of one volume.
#[derive(Debug, Clone)]
pub(super) struct VolumeViews {
    pub(super) record: VolumeRecord,
    pub(super) mapping: Option<MappingRecord>,
    /// An operation is under way on it.
    pub(super) busy: bool,
    /// The database was restored, and this was not compared since.
    pub(super) unproven: bool,
    pub(super) cloud: CloudView,
    pub(super) kernel: KernelView,
    /// The leases that have not ended.
    pub(super) leases: Vec<LeaseRecord>,
    /// Who uses its device, beside ourselves; `None` where that was not looked at, or could not be told.
    pub(super) users: Option<Vec<String>>,
}

/// The three views of everything.
#[derive(Debug, Clone)]
pub(super) struct Views {
    pub(super) volumes: Vec<VolumeViews>,
    /// What the cloud has and no record is of.
    pub(super) strays: Vec<Stray>,
    /// Disks with a serial such as the cloud gives them that neither the records nor the cloud know.
    pub(super) strangers: Vec<Stranger>,
    /// Whether the cloud said what it has.
    pub(super) cloud_answered: bool,
    /// Whether no device is appearing or going.
    pub(super) devices_settled: bool,
    /// When they were taken.
    pub(super) at: Timestamp,
}

/// A disk that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) identity: String,
    pub(super) node: String,
}

/// Of what nothing is concluded at present.
pub(super) fn undecided(views: &Views) -> Undecided {
    let is_undecided = |of: &&VolumeViews| {
        of.busy
            || of.kernel == KernelView::Unsettled
            || matches!(of.cloud, CloudView::Busy(_))
            || (of.cloud == CloudView::Unknown && of.record.provider_ref.is_some())
    };
    Undecided {
        volumes: views
            .volumes
            .iter()
            .filter(is_undecided)
            .map(|of| of.record.id)
            .collect(),
        cloud: !views.cloud_answered,
        devices: !views.devices_settled,
    }
}

/// Where the views do not agree. What has an operation under way is left alone.
pub(super) fn disagreements(views: &Views) -> Vec<Disagreement> {
    let settled = views
        .volumes
        .iter()
        .filter(|of| !of.busy && of.kernel != KernelView::Unsettled);
    settled
        .flat_map(|of| [disagreement(of), stuck(of), of_uses(of, views.at)])
        .flatten()
        .chain(views.volumes.iter().filter_map(unproven))
        .chain(views.strays.iter().map(of_stray))
        .chain(views.strangers.iter().map(of_stranger))
        .collect()
}

fn of_stranger(of: &Stranger) -> Disagreement {
    Disagreement {
        kind: FindingKind::ForeignDevice,
        severity: Severity::Warning,
        subject: Subject::Disk(of.identity.clone()),
        record: "no such volume".into(),
        cloud: "no such volume".into(),
        kernel: format!("{} {}", of.node, of.identity),
        advice: "a disk that no volume is known of: leaked by the cloud, or plugged in by somebody; it is never touched".into(),
        repair: None,
    }
}

/// That the cloud does not come to an end with a volume. It is only shown once it has stood for long.
fn stuck(of: &VolumeViews) -> Option<Disagreement> {
    let is_at_rest = matches!(of.record.state, VolumeState::InUse | VolumeState::Available);
    let CloudView::Busy(_) = of.cloud else { return None };
    is_at_rest.then(|| Disagreement {
        kind: FindingKind::StuckInCloud,
        severity: Severity::Warning,
        subject: subject(of),
        record: record_text(of),
        cloud: cloud_text(&of.cloud),
        kernel: kernel_text(&of.kernel),
        advice: "nothing is sent about it until the cloud is done: look at its job there; a state that stays after the \
                 management server was restarted is mended by an administrator (updateVolume state=Ready)"
            .into(),
        repair: None,
    })
}

fn unproven(of: &VolumeViews) -> Option<Disagreement> {
    of.unproven.then(|| Disagreement {
        kind: FindingKind::Unproven,
        severity: Severity::Warning,
        subject: subject(of),
        record: "restored from a backup".into(),
        cloud: cloud_text(&of.cloud),
        kernel: kernel_text(&of.kernel),
        advice: "nothing is changed about it until cloud and kernel have said the same for a while and nobody has its device open: wait until \
                 the cloud answers, and end what uses the device".into(),
        repair: None,
    })
}

/// Whether what cloud and kernel say of the volume can be taken for an answer. One that the cloud was never asked for by its own
/// id is asked for by its name.
pub(super) fn is_decided(of: &VolumeViews) -> bool {
    let cloud_answers = !matches!(of.cloud, CloudView::Unknown | CloudView::Busy(_));
    of.kernel != KernelView::Unsettled && (cloud_answers || of.record.provider_ref.is_none())
}

/// What cloud and kernel say of the volume, for people.
pub(super) fn seen_text(of: &VolumeViews) -> String {
    format!(
        "cloud: {}; kernel: {}",
        cloud_text(&of.cloud),
        kernel_text(&of.kernel)
    )
}

fn subject(of: &VolumeViews) -> Subject {
    Subject::Volume {
        id: of.record.id,
        generation: of.record.generation,
    }
}

/// Whether the record is not bound to what the kernel shows.
fn is_unbound(kernel: &KernelView) -> bool {
    matches!(kernel, KernelView::Present { .. } | KernelView::Absent)
}

fn disagreement(of: &VolumeViews) -> Option<Disagreement> {
    use FindingKind::{
        AttachedElsewhere, AttachedUnknown, DoubleAttached, DuplicateIdentity, GoneInCloud, LeakedDevice,
        MappingStale, Phantom, SizeChanged,
    };
    let attached = match of.record.state {
        VolumeState::InUse => true,
        VolumeState::Available => false,
        _ => return None,
    };
    let correlate = Some(FindingRepair::Correlate);
    let as_bound = matches!(of.kernel, KernelView::AsBound { .. });
    let (kind, severity, advice, repair) = match (attached, truth(&of.cloud, &of.kernel)) {
        (_, Truth::Twins) => (
            DuplicateIdentity,
            Severity::Critical,
            "none of them is handed out; find the device that does not belong here and remove it",
            None,
        ),
        (_, Truth::Leaked) => (
            LeakedDevice,
            Severity::Critical,
            "the volume was deleted while its device is plugged in here: end what uses it, then have the disk removed from \
             this VM on the hypervisor's host; it is not touched",
            None,
        ),
        (_, Truth::Gone) if of.cloud == CloudView::Deleted => (
            GoneInCloud,
            Severity::Critical,
            "somebody deleted it in the cloud, which has not purged it yet: have it recovered there (recoverVolume) while that \
             is possible; or delete its record when you agree",
            None,
        ),
        (_, Truth::Gone) => (
            GoneInCloud,
            Severity::Critical,
            "somebody deleted it in the cloud; delete its record when you agree",
            None,
        ),
        (_, Truth::DoubleAttached) => (
            DoubleAttached,
            Severity::Critical,
            "stop everything that writes to it, here and there: two machines have the disk; then find out which attachment \
             is real",
            None,
        ),
        (_, Truth::Elsewhere) => (
            AttachedElsewhere,
            Severity::Critical,
            "detach it there; it is never taken from another VM",
            None,
        ),
        (true, Truth::WrongSize) => (
            SizeChanged,
            Severity::Warning,
            "somebody resized it behind the daemon's back; `volumectl volumes resize` to its real size",
            None,
        ),
        (true, Truth::Detached) => (
            MappingStale,
            Severity::Warning,
            "its attachment is ended in the records",
            correlate,
        ),
        (_, Truth::Phantom) => (
            Phantom,
            Severity::Critical,
            "its device is here though the cloud has it detached: end what holds it; if it stays, have the disk removed from \
             this VM on the hypervisor's host, or stop and start the VM",
            None,
        ),
        (true, Truth::Attached | Truth::AttachedWithoutDevice) if !as_bound => (
            MappingStale,
            Severity::Warning,
            "its device is looked for and bound anew",
            correlate,
        ),
        (true, Truth::Undecided) if is_unbound(&of.kernel) && of.cloud == CloudView::Unknown => (
            MappingStale,
            Severity::Warning,
            "wait until the cloud answers",
            None,
        ),
        (false, Truth::Attached | Truth::AttachedWithoutDevice | Truth::WrongSize) => (
            AttachedUnknown,
            Severity::Warning,
            "`volumectl attach` takes it over, or detach it in the cloud",
            Some(FindingRepair::Attach),
        ),
        (true, Truth::Attached | Truth::AttachedWithoutDevice)
        | (false, Truth::Detached)
        | (_, Truth::Undecided) => return None,
    };
    Some(Disagreement {
        kind,
        severity,
        subject: subject(of),
        record: record_text(of),
        cloud: cloud_text(&of.cloud),
        kernel: kernel_text(&of.kernel),
        advice: advice.to_owned(),
        repair,
    })
}

pub(super) fn record_text(of: &VolumeViews) -> String {
    match &of.mapping {
        None => of.record.state.to_string(),
        Some(m) => format!(
            "{}, bound to {} {}",
            of.record.state,
            m.observed.device_path,
            diskseq_text(m.observed.diskseq)
        ),
    }
}

pub(super) fn cloud_text(view: &CloudView) -> String {
    match view {
        CloudView::Unknown => "unknown".into(),
        CloudView::Busy(what) => format!("at work on it: {what}"),
        CloudView::Gone => "no such volume".into(),
        CloudView::Deleted => "deleted, and not purged".into(),
        CloudView::Detached => "detached".into(),
        CloudView::AttachedHere => "attached here".into(),
        CloudView::AttachedElsewhere(vm) => format!("attached to VM `{vm}`"),
    }
}

pub(super) fn kernel_text(view: &KernelView) -> String {
    match view {
        KernelView::Unsettled => "devices are changing".into(),
        KernelView::Absent => "no device".into(),
        KernelView::AsBound { node } => format!("{node}, as bound"),
        KernelView::Present { node, diskseq } => format!("{node} {}", diskseq_text(*diskseq)),
        KernelView::WrongSize { node, size } => format!("{node} with {size}"),
        KernelView::Several { nodes } => nodes.clone(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(super) mod tests;
