//! Calls whose answer is lost, late or wrong: unknown is not failed, and nothing is sent while an earlier call may land.

use std::time::Duration;

use volume_client::types::{ConditionKind, ErrorCode};
use whole_system_tests::cloudstack::{Fault, Gate, Hold, JobIds, Moment};
use whole_system_tests::{Chance, CloudSite, code_of};

use crate::support::{
    GIB, attach_begun, attached, completed, condition, detached, ends_well, job_is_pending, marked, owner,
    sent,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_nothing_is_sent_again() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    site.cloud.faults().next("createVolume", Fault::LoseAnswer);
    let id = site.daemon.create("a", GIB).await.id;
    site.cloud.faults().next("attachVolume", Fault::LoseAnswer);
    attached(&site, id).await.unwrap();
    site.cloud.faults().next("detachVolume", Fault::LoseAnswer);
    ends_well(&site, id).await;
    for command in ["createVolume", "attachVolume", "detachVolume"] {
        assert_eq!(sent(&site, command), 1, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_server_that_chooses_job_ids_makes_no_second_job_either() {
    let Some(site) = CloudSite::with(|setup| setup.settings.job_ids = JobIds::OfTheServer).await else {
        return;
    };
    let mut site = site;
    site.daemon.start().await;
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    site.cloud.faults().next("attachVolume", Fault::LoseAnswer);
    attached(&site, id).await.unwrap();
    assert_eq!(sent(&site, "attachVolume"), 2, "one of them to mark it");
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_request_is_repeated_only_when_it_can_no_longer_arrive() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    site.cloud.faults().next("attachVolume", Fault::LoseRequest);
    let operation = attach_begun(&site, id).await;
    condition(&site, id, ConditionKind::Unknown).await;
    completed(&site, &operation).await;
    let received = site.cloud.snapshot().received;
    let attaches: Vec<_> = received
        .iter()
        .filter(|one| one.command == "attachVolume")
        .collect();
    assert_eq!(attaches.len(), 2);
    let apart = attaches[1].at.duration_since(attaches[0].at);
    assert!(apart.as_secs() >= 3, "{apart}");
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_is_no_answer_is_not_believed() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let faults = site.cloud.faults();
    for fault in [Fault::Html, Fault::Garbled, Fault::Unauthorised] {
        faults.next("listVolumes", fault.clone());
        faults.next("queryAsyncJobResult", fault);
        attached(&site, id).await.unwrap();
        assert_eq!(owner(&site, id).await, Some(id.to_string()));
        detached(&site, id).await.unwrap();
    }
    faults.next("attachVolume", Fault::Garbled);
    attached(&site, id).await.unwrap();
    assert_eq!(sent(&site, "attachVolume"), 5);
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_asks_to_wait_for_is_waited_for() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    let faults = site.cloud.faults();
    faults.next("attachVolume", Fault::TooMany(Duration::from_millis(700)));
    faults.nth("attachVolume", 2, Fault::Maintenance);
    attached(&site, id).await.unwrap();
    faults.next("detachVolume", Fault::Unauthorised);
    ends_well(&site, id).await;
    assert_eq!(faults.armed(), 0, "every fault was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_long_is_waited_for_and_the_volume_is_spoken_for() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    let gate = Gate::default();
    site.cloud
        .faults()
        .next("attachVolume", Fault::Slow(Hold::Until(gate.clone())));
    let operation = attach_begun(&site, id).await;
    job_is_pending(&site).await;
    assert_eq!(
        code_of(site.daemon.client().detach_volume(id).await),
        ErrorCode::OperationInProgress
    );
    gate.open();
    completed(&site, &operation).await;
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_while_a_job_runs_finds_that_job_again() {
    let Some(mut site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    for command in ["detachVolume", "attachVolume"] {
        let (gate, before) = (Gate::default(), sent(&site, command));
        site.cloud
            .faults()
            .next(command, Fault::Slow(Hold::Until(gate.clone())));
        let operation = match command {
            "attachVolume" => attach_begun(&site, id).await,
            _ => site.daemon.client().detach_volume(id).await.unwrap(),
        };
        job_is_pending(&site).await;
        site.daemon.kill().await;
        site.daemon.start().await;
        gate.open();
        completed(&site, &operation).await;
        assert_eq!(sent(&site, command), before + 1, "{command}");
    }
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_server_that_restarts_before_it_did_anything_is_asked_again() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    for command in ["detachVolume", "attachVolume"] {
        site.cloud
            .faults()
            .next(command, Fault::Restart(Moment::BeforeHypervisor));
        match command {
            "attachVolume" => drop(attached(&site, id).await.unwrap()),
            _ => drop(detached(&site, id).await.unwrap()),
        }
    }
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_failed_for_blocking_others_is_not_taken_for_failed() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let hold = Hold::For(Duration::from_secs(2));
    site.cloud
        .faults()
        .next("attachVolume", Fault::JudgedBlocking(hold));
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_lets_go_after_the_detach_was_given_up_is_found_detached() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let hold = Hold::For(Duration::from_secs(2));
    site.cloud.faults().next("detachVolume", Fault::LateDetach(hold));
    detached(&site, id).await.unwrap();
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, []);
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_a_moment_old_does_no_harm() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let mut chance = Chance::seeded("stale lists");
    site.cloud
        .faults()
        .by_chance("listVolumes", 200, Fault::Stale, &mut chance);
    for _ in 0..3 {
        detached(&site, id).await.unwrap();
        attached(&site, id).await.unwrap();
        assert_eq!(owner(&site, id).await, Some(id.to_string()));
    }
    site.cloud.faults().disarm();
    ends_well(&site, id).await;
}
