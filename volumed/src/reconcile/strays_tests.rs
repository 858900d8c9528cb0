//! One case per row: whose volume, in which state, attached to what.

use std::collections::BTreeSet;

use super::*;
use crate::model::Bytes;

const OURS: &str = "01900000-0000-7000-8000-000000000001";

fn named(name: &str) -> Option<VolumeId> {
    name.strip_prefix("vd-abc-")?.parse().ok()
}

fn volume(name: &str, attached_to: Option<&str>) -> ProviderVolume {
    ProviderVolume {
        provider_ref: format!("ref of {name}"),
        name: name.into(),
        is_root: false,
        size: Bytes::GIB,
        state: ProviderState::Ready,
        attached_to: attached_to.map(str::to_owned),
        attachment_mark: None,
        identity: None,
    }
}

fn inventory() -> Inventory {
    Inventory {
        boot_id: "boot".into(),
        generation: 1,
        disks: Vec::new(),
        unsettled: Vec::new(),
        disputed: BTreeSet::new(),
    }
}

fn found(volume: &ProviderVolume, known: &Known) -> Option<(FindingKind, Option<FindingRepair>)> {
    let strays = strays(std::iter::once(volume), known, "here", named, &inventory());
    strays.first().map(|stray| {
        let found = of_stray(stray);
        assert_eq!(found.provider_volume_id(), Some(volume.provider_ref.as_str()));
        assert_eq!(found.volume_id(), None);
        (found.kind, found.repair)
    })
}

fn ours(attached_to: Option<&str>) -> ProviderVolume {
    volume(&format!("vd-abc-{OURS}"), attached_to)
}

#[test]
fn a_volume_that_is_attached_here_concerns_us_whosever_it_is() {
    let adopt = Some(FindingRepair::Adopt);
    let unknown = Some((FindingKind::AttachedUnknown, adopt));
    assert_eq!(found(&volume("theirs", Some("here")), &Known::default()), unknown);
    assert_eq!(found(&ours(Some("here")), &Known::default()), unknown);
}

#[test]
fn other_peoples_volumes_elsewhere_or_nowhere_are_none_of_our_business() {
    let foreign = format!("vd-other-{OURS}");
    for name in ["theirs", &foreign, "vd-abc-", "vd-abc-not-an-id"] {
        for attached_to in [None, Some("there")] {
            assert_eq!(
                found(&volume(name, attached_to), &Known::default()),
                None,
                "{name}"
            );
        }
        let mut deleted = volume(name, None);
        deleted.state = ProviderState::Destroyed;
        assert_eq!(found(&deleted, &Known::default()), None, "{name}");
    }
}

#[test]
fn a_root_disk_is_never_one_of_ours() {
    for attached_to in [None, Some("here")] {
        let root = ProviderVolume {
            is_root: true,
            ..ours(attached_to)
        };
        assert_eq!(found(&root, &Known::default()), None);
    }
}

#[test]
fn a_volume_of_our_name_without_a_record_is_shown_and_never_deleted() {
    let adopt = Some(FindingRepair::Adopt);
    assert_eq!(
        found(&ours(None), &Known::default()),
        Some((FindingKind::Unrecorded, adopt))
    );
    assert_eq!(
        found(&ours(Some("there")), &Known::default()),
        Some((FindingKind::Unrecorded, None))
    );
}

#[test]
fn what_is_recorded_or_has_an_operation_is_known() {
    let by_ref = Known {
        provider_refs: [ours(None).provider_ref].into(),
        ..Known::default()
    };
    let by_name = Known {
        in_the_making: [OURS.parse().unwrap()].into(),
        ..Known::default()
    };
    for known in [by_ref, by_name] {
        for attached_to in [None, Some("here"), Some("there")] {
            assert_eq!(found(&ours(attached_to), &known), None);
        }
    }
}

#[test]
fn a_second_volume_of_a_name_is_shown_although_its_name_is_recorded() {
    let known = Known {
        provider_refs: ["the-first".to_owned()].into(),
        recorded: [OURS.parse().unwrap()].into(),
        ..Known::default()
    };
    let adopt = Some(FindingRepair::Adopt);
    assert_eq!(found(&ours(None), &known), Some((FindingKind::Unrecorded, adopt)));
}

#[test]
fn what_we_deleted_and_the_cloud_keeps_is_stuck_whatever_it_is_called() {
    let stuck = Some((FindingKind::StuckInCloud, None));
    let mut left = ours(None);
    left.state = ProviderState::Destroyed;
    assert_eq!(found(&left, &Known::default()), stuck);
    let mut adopted = volume("theirs", None);
    adopted.state = ProviderState::Destroyed;
    let known = Known {
        deleted: [(adopted.provider_ref.clone(), OURS.parse().unwrap())].into(),
        ..Known::default()
    };
    assert_eq!(found(&adopted, &known), stuck);
    // Brought back in the cloud, it is a volume of ours without a record.
    adopted.state = ProviderState::Ready;
    assert_eq!(
        found(&adopted, &known),
        Some((FindingKind::Unrecorded, Some(FindingRepair::Adopt)))
    );
}
