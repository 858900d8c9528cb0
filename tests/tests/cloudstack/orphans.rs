//! What the cloud has and nobody recorded, what it does not get rid of, and what is ordered about it.

use uuid::Uuid;
use volume_client::types::{
    AdoptVolume, ErrorCode, Finding, FindingKind, FindingRepair, IgnoreFinding, OperationKind,
    ReconcileRequest, VolumeState,
};
use whole_system_tests::cloudstack::{Fault, Stuck};
use whole_system_tests::{CloudSite, code_of, volumectl, wait_until};

use crate::support::{GIB, PATIENCE, attached, detached, ends_well, owner, sent};

/// A site whose daemon calls something an orphan, or stuck, after a second.
async fn site() -> Option<CloudSite> {
    let mut site = CloudSite::new().await?;
    let quick = [
        "VOLUMED_RECONCILE_ORPHAN_GRACE_SECONDS",
        "VOLUMED_RECONCILE_STUCK_AFTER_SECONDS",
        "VOLUMED_RECONCILE_USES_EVERY_SECONDS",
    ];
    let environment = &mut site.daemon.setup.environment;
    environment.extend(quick.map(|name| (name, "1".to_owned())));
    site.daemon.start().await;
    Some(site)
}

/// A volume that somebody made in the cloud, attached to this VM.
async fn stray(site: &CloudSite) -> Uuid {
    let stranger = site.cloud.stranger();
    let made = stranger.create("theirs", 1).await.unwrap();
    stranger.attach(made, site.cloud.vm_id()).await.unwrap();
    made
}

/// What is found of a volume that only the cloud knows.
async fn findings_of(site: &CloudSite, cloud_id: Uuid) -> Vec<Finding> {
    let client = site.daemon.client();
    let all = client.list_findings(&Default::default()).await.unwrap().items;
    all.into_iter()
        .filter(|one| one.provider_volume_id == Some(cloud_id.to_string()))
        .collect()
}

async fn found(site: &CloudSite, cloud_id: Uuid, kind: FindingKind) -> Finding {
    wait_until(&format!("{kind:?} of {cloud_id}"), PATIENCE, async || {
        let found = findings_of(site, cloud_id).await;
        found.into_iter().find(|one| one.kind == kind)
    })
    .await
}

async fn gone(site: &CloudSite, cloud_id: Uuid) {
    wait_until(&format!("no finding of {cloud_id}"), PATIENCE, async || {
        findings_of(site, cloud_id).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_attached_here_is_found_adopted_proven_and_never_deleted() {
    let Some(site) = site().await else { return };
    let theirs = stray(&site).await;
    let finding = found(&site, theirs, FindingKind::AttachedUnknown).await;
    assert_eq!(
        (finding.volume_id, finding.proposal),
        (None, Some(FindingRepair::Adopt))
    );
    let client = site.daemon.client();
    assert_eq!(
        code_of(client.repair_finding(&finding.id).await),
        ErrorCode::PersonNeeded
    );
    let before = sent(&site, "attachVolume");

    let socket = site.daemon.setup.socket.clone();
    let id = finding.id.to_string();
    let args = ["orphans", "adopt", &id, "--name", "theirs", "--yes", "--json"];
    let outcome = tokio::task::spawn_blocking({
        let args = args.map(str::to_owned);
        move || volumectl(&socket, args)
    })
    .await
    .unwrap();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let operation = outcome.json();
    assert_eq!(operation["type"], "adopt");
    let id = operation["volume_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        sent(&site, "attachVolume"),
        before,
        "what is attached already is taken over"
    );
    let device = client.volume_device(id).await.unwrap();
    assert_eq!(site.node(id).await.as_deref(), Some(device.device_path.as_str()));
    gone(&site, theirs).await;
    let volume = client.volume(id).await.unwrap();
    assert!(volume.handed_out && !volume.known_zero, "{volume:?}");

    // Detached and attached it is a volume like any other.
    detached(&site, id).await.unwrap();
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, None);
    ends_well(&site, id).await;
    assert_eq!(
        code_of(client.delete_volume(id, None).await),
        ErrorCode::ConfirmationRequired
    );
    assert!(!site.cloud.volume(theirs).unwrap().removed);
    assert_eq!(sent(&site, "deleteVolume"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_none_of_our_business_and_a_root_disk_is_never_adopted() {
    let Some(site) = site().await else { return };
    let stranger = site.cloud.stranger();
    let unattached = stranger.create("theirs", 1).await.unwrap();
    let here = stray(&site).await;
    // By the time that this one is found, the others would have been as well.
    found(&site, here, FindingKind::AttachedUnknown).await;
    let client = site.daemon.client();
    let all = client.list_findings(&Default::default()).await.unwrap().items;
    let of_the_cloud: Vec<_> = all
        .iter()
        .filter_map(|one| one.provider_volume_id.as_ref())
        .collect();
    assert_eq!(
        of_the_cloud,
        [&here.to_string()],
        "{unattached} and root disks are not ours"
    );

    let world = site.cloud.snapshot();
    let root = world.volumes.iter().find(|volume| volume.is_root).unwrap();
    let adopt = |id: Uuid| AdoptVolume {
        provider_volume_id: id.to_string(),
        name: "mine".to_owned(),
    };
    assert_eq!(
        code_of(client.adopt_volume(&adopt(root.id)).await),
        ErrorCode::WrongState
    );
    assert_eq!(
        code_of(client.adopt_volume(&adopt(Uuid::new_v4())).await),
        ErrorCode::ProviderVolumeNotFound
    );
    stranger.detach(here).await.unwrap();
    gone(&site, here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_sticks_is_shown_until_it_is_purged() {
    for stuck in [Stuck::Destroy, Stuck::Expunging] {
        let Some(site) = site().await else { return };
        let id = site.daemon.create("a", GIB).await.id;
        let cloud_id = site.cloud_id(id).await;
        site.cloud
            .faults()
            .next("deleteVolume", Fault::StickyDelete(stuck));
        let client = site.daemon.client();
        client.delete_and_wait(id, Some("a"), PATIENCE).await.unwrap();
        let finding = found(&site, cloud_id, FindingKind::StuckInCloud).await;
        assert!(finding.record.contains(&id.to_string()), "{finding:?}");
        assert_eq!(finding.proposal, None);
        let deletes = sent(&site, "deleteVolume");
        client
            .reconcile(ReconcileRequest { dry_run: false })
            .await
            .unwrap();
        assert_eq!(sent(&site, "deleteVolume"), deletes, "it is only shown");
        site.cloud.stranger().purge();
        gone(&site, cloud_id).await;
        site.assert_well_behaved();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_stays_listed_with_a_mark_also_after_the_daemon_was_killed() {
    let Some(mut site) = site().await else { return };
    let theirs = stray(&site).await;
    let finding = found(&site, theirs, FindingKind::AttachedUnknown).await;
    let why = IgnoreFinding {
        why: "the backup team's".to_owned(),
    };
    let client = site.daemon.client();
    let marked = client.ignore_finding(&finding.id, &why).await.unwrap();
    assert_eq!(marked.ignored.as_ref().unwrap().why, why.why);
    site.daemon.kill().await;
    site.daemon.start().await;
    let again = found(&site, theirs, FindingKind::AttachedUnknown).await;
    assert_eq!((&again.id, &again.ignored), (&finding.id, &marked.ignored));
    let client = site.daemon.client();
    client.heed_finding(&finding.id).await.unwrap();
    let heeded = client.finding(&finding.id).await.unwrap();
    assert_eq!(heeded.ignored, None);
    let audit = client
        .list_audit(&Default::default(), &Default::default())
        .await
        .unwrap()
        .items;
    let actions: Vec<_> = audit.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["finding_heeded", "finding_ignored"]);
    site.cloud.stranger().detach(theirs).await.unwrap();
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_the_cloud_no_change_and_records_nothing() {
    let Some(site) = site().await else { return };
    let id = site.daemon.create("a", GIB).await.id;
    attached(&site, id).await.unwrap();
    let theirs = stray(&site).await;
    found(&site, theirs, FindingKind::AttachedUnknown).await;
    let is_change = |command: &str| !command.starts_with("list") && !command.starts_with("query");
    let changes = || {
        let received = site.cloud.snapshot().received;
        received.iter().filter(|one| is_change(&one.command)).count()
    };
    let client = site.daemon.client();
    let audit = async || {
        let page = client.list_audit(&Default::default(), &Default::default()).await;
        page.unwrap().items
    };
    let operations = async || {
        let page = client
            .list_operations(&Default::default(), &Default::default())
            .await;
        page.unwrap().items
    };
    let before = (changes(), audit().await, operations().await);
    for _ in 0..3 {
        let report = client
            .reconcile(ReconcileRequest { dry_run: true })
            .await
            .unwrap();
        assert!(report.dry_run && report.cloud_answered);
        assert!(report.findings.iter().any(|one| one.provider_volume_id.is_some()));
    }
    assert_eq!((changes(), audit().await, operations().await), before);
    site.cloud.stranger().detach(theirs).await.unwrap();
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_attached_is_explained_and_taken_over_when_it_is_ordered() {
    let Some(site) = site().await else { return };
    let id = site.daemon.create("a", GIB).await.id;
    let stranger = site.cloud.stranger();
    stranger
        .attach(site.cloud_id(id).await, site.cloud.vm_id())
        .await
        .unwrap();
    let finding = site.found(id, FindingKind::AttachedUnknown).await;
    let client = site.daemon.client();
    let told = client.explain_volume(id).await.unwrap();
    assert_eq!(
        (told.record.as_str(), told.cloud.as_str()),
        ("available", "attached here")
    );
    assert!(told.kernel.starts_with("/dev/"), "{told:?}");
    assert!(told.next.contains("takes it over"), "{told:?}");
    // It has stood for long enough, but nobody asked for it: the daemon lets it be.
    let report = client
        .reconcile(ReconcileRequest { dry_run: false })
        .await
        .unwrap();
    assert!(
        report.repairs.iter().all(|one| one.finding_id != finding.id),
        "{report:?}"
    );
    assert_eq!(client.volume(id).await.unwrap().state, VolumeState::Available);
    let started = client.repair_finding(&finding.id).await.unwrap();
    let operation = started.operation.unwrap();
    assert_eq!(operation.kind, OperationKind::Attach);
    client.wait_for_completion(operation.id, PATIENCE).await.unwrap();
    let told = client.explain_volume(id).await.unwrap();
    assert!(told.next.starts_with("nothing: "), "{told:?}");
    assert_eq!(told.operation.map(|one| one.id), Some(operation.id));
    ends_well(&site, id).await;
}
