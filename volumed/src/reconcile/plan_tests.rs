//! One case per row of the table of views.

use super::*;
use crate::model::{Identity, VolumeId};

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
        leases: Vec::new(),
        users: None,
    }
}

fn now() -> Timestamp {
    "2026-11-21T13:00:00Z".parse().unwrap()
}

fn all(volumes: Vec<VolumeViews>) -> Views {
    Views {
        volumes,
        strays: Vec::new(),
        strangers: Vec::new(),
        cloud_answered: true,
        devices_settled: true,
        at: now(),
    }
}

fn found(of: VolumeViews) -> Option<(FindingKind, Option<FindingRepair>)> {
    let found = disagreements(&all(vec![of]));
    assert!(found.len() <= 1, "{found:?}");
    found.into_iter().next().map(|d| (d.kind, d.repair))
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
    let correlate = Some(FindingRepair::Correlate);
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
        (FindingKind::AttachedUnknown, Some(FindingRepair::Attach))
    );
    assert_eq!(case(CloudView::Detached, present()), (FindingKind::Phantom, None));
    for gone in [CloudView::Gone, CloudView::Deleted] {
        assert_eq!(case(gone, KernelView::Absent), (FindingKind::GoneInCloud, None));
    }
}

#[test]
fn a_volume_that_may_still_be_recovered_is_said_to_be() {
    let of = |cloud| {
        let found = disagreements(&all(vec![views(
            VolumeState::Available,
            cloud,
            KernelView::Absent,
        )]));
        (found[0].cloud.clone(), found[0].advice.clone())
    };
    let (cloud, advice) = of(CloudView::Deleted);
    assert!(cloud.contains("not purged") && advice.contains("recoverVolume"));
    assert!(!of(CloudView::Gone).1.contains("recover"));
}

#[test]
fn what_has_an_operation_under_way_or_is_changing_is_left_alone() {
    let mut busy = views(VolumeState::InUse, CloudView::Gone, KernelView::Absent);
    busy.busy = true;
    assert_eq!(found(busy), None);
    let at_work = || CloudView::Busy("job b0c1".into());
    for state in [VolumeState::InUse, VolumeState::Available] {
        for kernel in [bound(), present(), KernelView::Absent] {
            // That it lasts is all that is said of it.
            let stuck = Some((FindingKind::StuckInCloud, None));
            assert_eq!(found(views(state, at_work(), kernel)), stuck);
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
fn a_volume_between_states_is_not_called_stuck() {
    let at_work = CloudView::Busy("Attaching".into());
    for state in [
        VolumeState::Attaching,
        VolumeState::Detaching,
        VolumeState::Deleting,
    ] {
        assert_eq!(found(views(state, at_work.clone(), KernelView::Absent)), None);
    }
    let mut ours = views(VolumeState::InUse, at_work, bound());
    ours.busy = true;
    assert_eq!(found(ours), None, "its own operation tells what it waits for");
}

#[test]
fn each_disk_of_nobody_is_a_finding_of_its_own() {
    let stranger = |node: &str, identity: &str| Stranger {
        node: node.into(),
        identity: identity.into(),
    };
    let views = Views {
        strangers: vec![stranger("/dev/vdq", "serial:a"), stranger("/dev/vdr", "serial:b")],
        ..all(Vec::new())
    };
    let found = disagreements(&views);
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].id(), found[1].id());
    for (one, node) in found.iter().zip(["/dev/vdq serial:a", "/dev/vdr serial:b"]) {
        assert_eq!(
            (one.kind, one.volume_id(), one.repair),
            (FindingKind::ForeignDevice, None, None)
        );
        assert_eq!(one.kernel, node);
    }
    // The same disk under another name is the same finding.
    let moved = Views {
        strangers: vec![stranger("/dev/vdz", "serial:a")],
        ..views
    };
    assert_eq!(disagreements(&moved)[0].id(), found[0].id());
}

fn lease(holder: &str, expires_at: &str) -> LeaseRecord {
    let at = |text: &str| text.parse().unwrap();
    LeaseRecord {
        id: crate::model::LeaseId::new(),
        volume_id: VolumeId::new(),
        generation: 1,
        purpose: crate::model::LeasePurpose::Export,
        access: crate::model::LeaseAccess::Write,
        holder: holder.into(),
        detail: None,
        known_zero: false,
        ttl_seconds: 60,
        acquired_at: at("2026-11-21T12:00:00Z"),
        expires_at: at(expires_at),
        released_at: None,
    }
}

#[test]
fn leases_and_users_together_have_their_rows() {
    let case = |leases: &[&str], users: Option<&[&str]>| {
        let mut of = views(VolumeState::InUse, CloudView::AttachedHere, bound());
        of.leases = leases.iter().map(|at| lease("engine", at)).collect();
        of.users = users.map(|users| users.iter().map(ToString::to_string).collect());
        found(of)
    };
    let (lives, expired) = ("2026-11-21T13:00:10Z", "2026-11-21T12:59:00Z");
    let nbd = "/dev/x is open in nbd-server (pid 7)";
    let abandoned = Some((FindingKind::LeaseAbandoned, Some(FindingRepair::EndLeases)));
    let unguarded = Some((FindingKind::UsedWithoutLease, None));

    assert_eq!(case(&[], Some(&[])), None);
    assert_eq!(case(&[lives], Some(&[nbd])), None);
    assert_eq!(case(&[lives], Some(&[])), None);
    assert_eq!(case(&[expired, lives], Some(&[nbd])), None);
    assert_eq!(case(&[expired], Some(&[])), abandoned);
    assert_eq!(case(&[expired], Some(&[nbd])), unguarded);
    assert_eq!(case(&[], Some(&[nbd])), unguarded);
    // Nothing is concluded where it is not known who uses the device.
    for leases in [&[][..], &[expired], &[lives]] {
        assert_eq!(case(leases, None), None);
    }
}

#[test]
fn what_is_not_concluded_now_stands() {
    let of = |cloud, kernel| {
        let one = views(VolumeState::InUse, cloud, kernel);
        let id = one.record.id;
        undecided(&all(vec![one])).volumes.contains(&id)
    };
    assert!(!of(CloudView::AttachedHere, bound()));
    assert!(of(CloudView::Unknown, bound()));
    assert!(of(CloudView::Busy("a job".into()), bound()));
    assert!(of(CloudView::AttachedHere, KernelView::Unsettled));
    let silent = Views {
        cloud_answered: false,
        devices_settled: false,
        ..all(Vec::new())
    };
    assert!(undecided(&silent).cloud && undecided(&silent).devices);
}
