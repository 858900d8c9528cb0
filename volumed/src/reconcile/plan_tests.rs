//! One case per row of the table of views.

use super::*;
use crate::model::Identity;

pub(in crate::reconcile) fn views(state: VolumeState, cloud: CloudView, kernel: KernelView) -> VolumeViews {
    let at = "2026-11-21T12:00:00Z".parse().unwrap();
    let record = VolumeRecord {
        id: VolumeId::new(),
        name: "v".into(),
        size: Bytes::GIB,
        state,
        provider: "local".into(),
        provider_ref: Some("ref".into()),
        identity: Some(Identity::Serial("s".into())),
        source: None,
        generation: 1,
        fresh_zero: true,
        written: false,
        handed_out: true,
        created_at: at,
        updated_at: at,
    };
    VolumeViews {
        record,
        mapping: None,
        busy: false,
        unproven: false,
        cloud,
        kernel,
    }
}

fn found(of: VolumeViews) -> Option<(FindingKind, Option<Repair>)> {
    disagreements(&Views {
        volumes: vec![of],
        strangers: Vec::new(),
    })
    .into_iter()
    .next()
    .map(|d| (d.kind, d.repair))
}

fn bound() -> KernelView {
    KernelView::AsBound {
        node: "/dev/x".into(),
    }
}

fn present() -> KernelView {
    KernelView::Present {
        node: "/dev/x".into(),
        diskseq: Some(1),
    }
}

#[test]
fn views_that_agree_are_no_finding() {
    use VolumeState::{Available, InUse};
    assert_eq!(found(views(InUse, CloudView::AttachedHere, bound())), None);
    assert_eq!(
        found(views(Available, CloudView::Detached, KernelView::Absent)),
        None
    );
    assert_eq!(found(views(InUse, CloudView::Unknown, bound())), None);
}

#[test]
fn each_disagreement_of_an_attached_volume_has_its_row() {
    let case = |cloud, kernel| found(views(VolumeState::InUse, cloud, kernel)).expect("a finding");
    let elsewhere = || CloudView::AttachedElsewhere("b".into());
    let correlate = Some(Repair::Correlate);
    assert_eq!(
        case(CloudView::AttachedHere, KernelView::Absent),
        (FindingKind::MappingStale, correlate)
    );
    assert_eq!(
        case(CloudView::AttachedHere, present()),
        (FindingKind::MappingStale, correlate)
    );
    assert_eq!(
        case(CloudView::Detached, KernelView::Absent),
        (FindingKind::MappingStale, correlate)
    );
    assert_eq!(
        case(CloudView::Unknown, KernelView::Absent),
        (FindingKind::MappingStale, None)
    );
    assert_eq!(case(CloudView::Detached, bound()), (FindingKind::Phantom, None));
    assert_eq!(case(elsewhere(), bound()), (FindingKind::DoubleAttached, None));
    assert_eq!(
        case(elsewhere(), KernelView::Absent),
        (FindingKind::AttachedElsewhere, None)
    );
    assert_eq!(case(CloudView::Gone, bound()), (FindingKind::LeakedDevice, None));
    assert_eq!(
        case(CloudView::Gone, KernelView::Absent),
        (FindingKind::GoneInCloud, None)
    );
    let several = KernelView::Several {
        nodes: "/dev/x, /dev/y".into(),
    };
    assert_eq!(
        case(CloudView::AttachedHere, several),
        (FindingKind::DuplicateIdentity, None)
    );
    let shrunk = KernelView::WrongSize {
        node: "/dev/x".into(),
        size: Bytes(1),
    };
    assert_eq!(
        case(CloudView::AttachedHere, shrunk),
        (FindingKind::SizeChanged, None)
    );
}

#[test]
fn each_disagreement_of_an_available_volume_has_its_row() {
    let case = |cloud, kernel| found(views(VolumeState::Available, cloud, kernel)).expect("a finding");
    assert_eq!(
        case(CloudView::AttachedHere, present()),
        (FindingKind::AttachedUnknown, None)
    );
    assert_eq!(case(CloudView::Detached, present()), (FindingKind::Phantom, None));
    assert_eq!(
        case(CloudView::Gone, KernelView::Absent),
        (FindingKind::GoneInCloud, None)
    );
}

#[test]
fn what_has_an_operation_under_way_or_is_changing_is_left_alone() {
    let mut busy = views(VolumeState::InUse, CloudView::Gone, KernelView::Absent);
    busy.busy = true;
    assert_eq!(found(busy), None);
    let at_work = || CloudView::Busy("job b0c1".into());
    for state in [VolumeState::InUse, VolumeState::Available] {
        for kernel in [bound(), present(), KernelView::Absent] {
            assert_eq!(found(views(state, at_work(), kernel)), None);
        }
    }
    assert_eq!(
        found(views(
            VolumeState::InUse,
            CloudView::AttachedHere,
            KernelView::Unsettled
        )),
        None
    );
    assert_eq!(
        found(views(
            VolumeState::Attaching,
            CloudView::Detached,
            KernelView::Absent
        )),
        None
    );
}

#[test]
fn disks_of_nobody_are_one_finding_that_names_them() {
    let views = Views {
        volumes: Vec::new(),
        strangers: vec!["/dev/vdq serial:a".into(), "/dev/vdr serial:b".into()],
    };
    let found = disagreements(&views);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].kind, found[0].volume_id, found[0].repair),
        (FindingKind::ForeignDevice, None, None)
    );
    assert!(found[0].kernel.contains("/dev/vdq") && found[0].kernel.contains("/dev/vdr"));
}
