//! Warm copies by changed areas, and what keeps one from going on.

use migrate_engine::source::vsphere::{
    Area, ChangeId, Changes, DatastorePath, Enabled, FullCopyReason, Machine, Reference, Session, Since,
    VsphereError,
};

use super::site::{MODELS, Site, by_name, first, request, with};

/// Reads `areas` of a snapshot's disk over `target`, with several reads at once.
async fn copy(session: &Session, path: &str, datacenter: Option<&str>, areas: &[Area], target: &mut [u8]) {
    let path: DatastorePath = path.parse().unwrap();
    let file = session
        .flat_file(&path, datacenter, target.len() as u64)
        .await
        .unwrap();
    let mut reads = tokio::task::JoinSet::new();
    for area in areas.iter().copied() {
        let file = file.clone();
        reads.spawn(async move {
            let mut buffer = vec![0; area.length as usize];
            file.read_at(area.start, &mut buffer).await.unwrap();
            (area, buffer)
        });
    }
    while let Some(read) = reads.join_next().await {
        let (area, buffer) = read.unwrap();
        target[area.start as usize..][..buffer.len()].copy_from_slice(&buffer);
    }
}

pub(crate) async fn changes(
    session: &Session,
    vm: &Reference,
    snapshot: &Reference,
    since: &Since,
    size: u64,
) -> Changes {
    session
        .changed_areas(vm, snapshot, 2000, since, size)
        .await
        .unwrap()
}

pub(crate) fn areas(changes: Changes) -> Vec<Area> {
    match changes {
        Changes::Areas(areas) => areas,
        Changes::FullCopy(reason) => panic!("{reason}"),
    }
}

/// Turns tracking on and makes it effective. Gives the machine as it is then.
pub(crate) async fn tracked(session: &Session) -> Machine {
    let machine = first(session).await;
    let enabled = session.enable_change_tracking(&machine).await.unwrap();
    if enabled == Enabled::AfterSnapshot {
        let vm = machine.reference();
        let stun = session.create_snapshot(&vm, &request("stun")).await.unwrap();
        session.remove_snapshot(&stun).await.unwrap();
    }
    let found = session.discover(&by_name(&machine.id)).await.unwrap();
    let machine = found.machines[0].clone();
    assert!(machine.config().unwrap().change_tracking);
    assert_eq!(
        session.enable_change_tracking(&machine).await.unwrap(),
        Enabled::Already
    );
    machine
}

#[tokio::test]
async fn warm_copies_are_identical_to_what_the_snapshots_froze() {
    for model in MODELS {
        let site = Site::start(&with(model, &["-max-extents", "7", "-lock-running"]));
        let session = site.login().await;
        let machine = tracked(&session).await;
        let (vm, datacenter) = (machine.reference(), machine.datacenter_path.as_deref());
        let size = 64 << 20;
        site.scribble(&machine.id, 2000, size, 1, 60);
        let mut target = vec![0; size as usize];
        let mut since = Since::Creation;
        let mut before: Option<ChangeId> = None;
        for cycle in 0..4 {
            let snapshot = session
                .create_snapshot(&vm, &request(&cycle.to_string()))
                .await
                .unwrap();
            site.scribble(&machine.id, 2000, size, 100 + cycle, 15);
            let frozen = session.snapshot_disks(&snapshot).await.unwrap();
            let disk = frozen.disks.iter().find(|disk| disk.key == 2000).unwrap();
            assert_eq!(disk.capacity_bytes, Some(size));
            if let Some(before) = &before {
                disk.goes_on_from(before, size).unwrap();
            }
            let areas = areas(changes(&session, &vm, &snapshot, &since, size).await);
            copy(
                &session,
                disk.path.as_deref().unwrap(),
                datacenter,
                &areas,
                &mut target,
            )
            .await;
            assert!(
                target == site.frozen(&machine.id, 2000, &snapshot),
                "{model:?} cycle {cycle} differs"
            );
            before.clone_from(&disk.change_id);
            since = Since::Change(disk.change_id.clone().unwrap());
            session.remove_snapshot(&snapshot).await.unwrap();
            session.remove_snapshot(&snapshot).await.unwrap();
        }
        assert!(session.snapshots(&vm).await.unwrap().is_empty());
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_in_doubt_needs_a_full_copy() {
    let site = Site::start(&[]);
    let session = site.login().await;
    let machine = tracked(&session).await;
    let vm = machine.reference();
    let size = 64 << 20;
    let one = session.create_snapshot(&vm, &request("1")).await.unwrap();
    let old = session.snapshot_disks(&one).await.unwrap().disks[0]
        .change_id
        .clone()
        .unwrap();
    session.remove_snapshot(&one).await.unwrap();
    site.post(&format!("cbtreset?vm={}&disk=2000", machine.id));
    let two = session.create_snapshot(&vm, &request("2")).await.unwrap();
    let disk = session.snapshot_disks(&two).await.unwrap().disks[0].clone();
    assert!(matches!(
        disk.goes_on_from(&old, size),
        Err(FullCopyReason::Reset { .. })
    ));
    let asked = changes(&session, &vm, &two, &Since::Change(old), size).await;
    assert!(matches!(asked, Changes::FullCopy(_)), "{asked:?}");
    let nonsense = Since::Change("no such epoch/7".parse().unwrap());
    let asked = changes(&session, &vm, &two, &nonsense, size).await;
    assert!(matches!(asked, Changes::FullCopy(_)), "{asked:?}");
    for (key, reason) in [
        ("noTrack", FullCopyReason::NotTracked),
        ("noEpoch", FullCopyReason::EpochMissing),
    ] {
        site.post(&format!(
            "fault?method=QueryChangedDiskAreas&fault=FileFault&key=vim.hostd.vmsvc.cbt.{key}"
        ));
        assert_eq!(
            changes(&session, &vm, &two, &Since::Creation, size).await,
            Changes::FullCopy(reason)
        );
    }
    // Another size than the disk has: its pages do not fit.
    let other = changes(&session, &vm, &two, &Since::Creation, size / 2).await;
    assert!(
        matches!(other, Changes::FullCopy(FullCopyReason::Doubtful(_))),
        "{other:?}"
    );
    let larger = changes(&session, &vm, &two, &Since::Creation, size * 2).await;
    assert!(matches!(larger, Changes::FullCopy(_)), "{larger:?}");
    session.remove_snapshot(&two).await.unwrap();
    let gone = session
        .changed_areas(&vm, &two, 2000, &Since::Creation, size)
        .await;
    assert!(matches!(gone, Err(VsphereError::SnapshotGone { .. })), "{gone:?}");
    let gone = session.snapshot_disks(&two).await;
    assert!(matches!(gone, Err(VsphereError::SnapshotGone { .. })), "{gone:?}");
}
