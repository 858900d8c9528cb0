//! Faults: each does what it says, and nothing else.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;
use whole_system_tests::Chance;
use whole_system_tests::cloudstack::{
    Expiry, Fate, Fault, Gate, Hold, JobState, Moment, Service, Violation, VolumeState,
};
use whole_system_tests::wait_until;

use crate::cloud::{Cloud, SOON, assert_refused};

/// The parameters of a create with this name, signed.
fn create(cloud: &Cloud, name: &str) -> whole_system_tests::cloudstack::Params {
    let (offering, zone) = (
        cloud.server.fixed_offering_id().to_string(),
        cloud.server.zone_id().to_string(),
    );
    cloud.user.signed(
        "createVolume",
        &[("name", name), ("diskofferingid", &offering), ("zoneid", &zone)],
    )
}

fn count(cloud: &Cloud, name: &str) -> usize {
    cloud
        .server
        .snapshot()
        .volumes
        .iter()
        .filter(|volume| volume.name == name)
        .count()
}

#[tokio::test]
async fn what_is_lost_is_lost_without_an_answer() {
    let cloud = Cloud::start().await;
    for (fault, name, volumes, fate) in [
        (Fault::LoseRequest, "request", 0, Fate::Lost),
        (Fault::LoseAnswer, "answer", 1, Fate::Unheard(200)),
    ] {
        cloud.server.faults().next("createVolume", fault);
        let lost = cloud.user.post(&create(&cloud, name)).await.unwrap_err();
        assert!(lost.status().is_none() && !lost.is_timeout(), "{lost:?}");
        assert_eq!(count(&cloud, name), volumes, "{name}");
        assert_eq!(cloud.server.snapshot().received.last().unwrap().fate, fate);
    }
    assert_eq!(cloud.server.faults().armed(), 0);
    assert_eq!(
        cloud.user.post(&create(&cloud, "next")).await.unwrap().status,
        200,
        "the next call is served"
    );
}

#[tokio::test]
async fn a_request_may_arrive_late_and_is_judged_then() {
    let cloud = Cloud::start().await;
    for (ahead, name, status, volumes) in [(0, "in time", 200, 1), (61, "too late", 401, 0)] {
        let gate = Gate::default();
        cloud
            .server
            .faults()
            .next("createVolume", Fault::Delay(Hold::Until(gate.clone())));
        let params = create(&cloud, name);
        let answer = tokio::spawn({
            let user = cloud.user.clone();
            async move { user.post(&params).await.unwrap().status }
        });
        wait_until("the request to be on its way", SOON, async || {
            (cloud.server.snapshot().received.last()?.fate == Fate::Open).then_some(())
        })
        .await;
        assert_eq!(count(&cloud, name), 0);
        cloud.server.set_clock_ahead(SignedDuration::from_secs(ahead));
        gate.open();
        assert_eq!(answer.await.unwrap(), status, "{name}");
        assert_eq!(count(&cloud, name), volumes, "{name}");
        cloud.server.set_clock_ahead(SignedDuration::ZERO);
    }
}

#[tokio::test]
async fn a_late_request_arrives_although_its_caller_has_gone() {
    let cloud = Cloud::start().await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("createVolume", Fault::Delay(Hold::Until(gate.clone())));
    let params = create(&cloud, "late");
    let gave_up = tokio::time::timeout(Duration::from_millis(200), cloud.user.post(&params)).await;
    assert!(gave_up.is_err());
    assert_eq!(count(&cloud, "late"), 0);
    gate.open();
    wait_until("the late request", SOON, async || {
        (count(&cloud, "late") == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_opposite_call_before_the_lost_one_has_expired_is_noted() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    cloud.server.faults().next("attachVolume", Fault::LoseRequest);
    let attach = [("id", id.to_string()), ("virtualmachineid", cloud.vm())];
    let attach: Vec<_> = attach
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    cloud
        .user
        .post(&cloud.user.signed("attachVolume", &attach))
        .await
        .unwrap_err();
    let delete = async || cloud.user.call("deleteVolume", &[("id", &id.to_string())]).await;
    delete().await.unwrap();
    let (open, second) = ("attachVolume".to_owned(), "deleteVolume".to_owned());
    assert_eq!(
        cloud.server.violations(),
        [Violation::Overlap {
            volume: id,
            open,
            second
        }]
    );
    cloud.server.set_clock_ahead(SignedDuration::from_secs(62));
    let _ = cloud
        .user
        .post(&cloud.user.signed("deleteVolume", &[("id", &id.to_string())]))
        .await
        .unwrap();
    assert_eq!(
        cloud.server.violations().len(),
        1,
        "after its expiry it cannot come any more"
    );
}

#[tokio::test]
async fn a_request_may_arrive_twice() {
    let cloud = Cloud::start().await;
    cloud
        .server
        .faults()
        .next("createVolume", Fault::Duplicate(Hold::For(Duration::ZERO)));
    assert_eq!(
        cloud.user.post(&create(&cloud, "twin")).await.unwrap().status,
        200
    );
    wait_until("the second copy", SOON, async || {
        (count(&cloud, "twin") == 2).then_some(())
    })
    .await;
    assert_eq!(cloud.server.violations(), [], "the client sent it once");
}

#[tokio::test]
async fn a_second_copy_of_a_detach_undoes_a_later_attach_unless_it_has_expired() {
    for (ahead, still_attached) in [(61, true), (0, false)] {
        let cloud = Cloud::start().await;
        let id = cloud.created_and_attached("a").await;
        let gate = Gate::default();
        cloud
            .server
            .faults()
            .next("detachVolume", Fault::Duplicate(Hold::Until(gate.clone())));
        cloud.detach(id).await.unwrap();
        cloud.attach(id).await.unwrap();
        cloud.server.set_clock_ahead(SignedDuration::from_secs(ahead));
        gate.open();
        let status = wait_until("the copy", SOON, async || {
            let received = cloud.server.snapshot().received;
            received
                .iter()
                .find(|request| request.is_copy && request.fate != Fate::Open)
                .map(|copy| copy.fate)
        });
        assert_eq!(
            status.await,
            Fate::Answered(if still_attached { 401 } else { 200 })
        );
        wait_until("the end of its job", SOON, async || {
            cloud
                .server
                .snapshot()
                .jobs
                .iter()
                .all(|job| !job.is_pending())
                .then_some(())
        })
        .await;
        assert_eq!(cloud.is_attached(id), still_attached, "{ahead} s later");
    }
}

#[tokio::test]
async fn a_call_may_be_turned_away_for_no_reason() {
    let cloud = Cloud::start().await;
    for (fault, status) in [
        (Fault::Unauthorised, 401),
        (Fault::TooMany(Duration::from_millis(250)), 429),
        (Fault::Maintenance, 503),
        (Fault::Html, 200),
    ] {
        let shown = format!("{fault:?}");
        cloud.server.faults().next("createVolume", fault);
        let answer = cloud.user.post(&create(&cloud, "never")).await.unwrap();
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(count(&cloud, "never"), 0, "{shown}");
        match status {
            200 => assert!(answer.text.starts_with("<html>"), "{shown}"),
            429 => assert!(answer.text.contains("please retry after 250 ms"), "{shown}"),
            _ => assert_eq!(answer.content().unwrap_err().code, status),
        }
    }
    cloud
        .server
        .change(|settings| settings.service = Service::Maintenance);
    let refusal = cloud
        .user
        .post(&create(&cloud, "extra"))
        .await
        .unwrap()
        .content()
        .unwrap_err();
    assert_eq!(refusal.code, 503);
    assert!(cloud.user.call("listZones", &[]).await.is_ok(), "reads go on");
}

#[tokio::test]
async fn an_answer_may_break_off() {
    let cloud = Cloud::start().await;
    cloud.server.faults().next("createVolume", Fault::Garbled);
    let answer = cloud.user.post(&create(&cloud, "broken")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/json")
    );
    assert!(serde_json::from_str::<serde_json::Value>(&answer.text).is_err());
    assert_eq!(count(&cloud, "broken"), 1, "it was taken");
}

#[tokio::test]
async fn two_reads_may_disagree() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    cloud.server.faults().nth("listVolumes", 2, Fault::Stale);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(
            cloud
                .user
                .volume(id)
                .await
                .unwrap()
                .get("virtualmachineid")
                .is_some(),
        );
    }
    assert_eq!(seen, [true, false, true]);
}

#[tokio::test]
async fn a_restart_forgets_its_jobs_and_asks_no_hypervisor() {
    for (moment, command, plugged, attached) in [
        (Moment::BeforeHypervisor, "attachVolume", false, false),
        (Moment::AfterHypervisor, "attachVolume", true, false),
        (Moment::BeforeHypervisor, "detachVolume", true, true),
        (Moment::AfterHypervisor, "detachVolume", false, true),
    ] {
        let cloud = Cloud::start().await;
        let id = cloud.create("a").await;
        if command == "detachVolume" {
            cloud.attach(id).await.unwrap();
        }
        cloud.server.faults().next(command, Fault::Restart(moment));
        let result = if command == "attachVolume" {
            cloud.attach(id).await
        } else {
            cloud.detach(id).await
        };
        let refusal = result.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.text.as_str()),
            (530, ""),
            "{command} {moment:?}"
        );
        assert_eq!(
            cloud.server.snapshot().jobs.pop().unwrap().state,
            JobState::Failed {
                code: 530,
                result: None
            }
        );
        assert_eq!(cloud.server.volume(id).unwrap().state, VolumeState::Ready);
        assert_eq!(cloud.is_plugged(id).await, plugged, "{command} {moment:?}");
        assert_eq!(cloud.is_attached(id), attached, "{command} {moment:?}");
    }
}

#[tokio::test]
async fn a_restart_ends_what_waits_in_a_queue() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let gate = Gate::default();
    cloud
        .server
        .stranger()
        .occupy(cloud.server.vm_id(), Hold::Until(gate.clone()))
        .await;
    let params = [("id", id.to_string()), ("virtualmachineid", cloud.vm())];
    let params: Vec<_> = params
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let started = cloud.user.call("attachVolume", &params).await.unwrap();
    cloud.server.restart();
    let refusal = cloud
        .user
        .outcome(started["jobid"].as_str().unwrap())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, 530);
    cloud.attach(id).await.unwrap();
    gate.open();
    cloud.detach(id).await.unwrap();
}

#[tokio::test]
async fn a_straggling_detach_clears_whatever_attachment_there_is() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let guest = std::sync::Arc::new(whole_system_tests::cloudstack::ElsewhereHypervisor::default());
    let second = cloud.server.stranger().create_vm("second", guest);
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("detachVolume", Fault::StragglingDetach(Hold::Until(gate.clone())));
    cloud.detach(id).await.unwrap();
    let params = [("id", id.to_string()), ("virtualmachineid", second.to_string())];
    let params: Vec<_> = params
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    cloud.user.run("attachVolume", &params).await.unwrap();
    gate.open();
    wait_until("the straggler", SOON, async || {
        (!cloud.is_attached(id)).then_some(())
    })
    .await;
    let disk = cloud.server.disk(id).unwrap();
    assert!(
        cloud.server.stranger().plugged(second).await.contains(&disk),
        "plugged in where nobody says so"
    );
    assert_refused(
        cloud.user.run("attachVolume", &params).await,
        530,
        "target vdb already exists",
    );
}

#[tokio::test]
async fn detaches_that_pile_up_are_the_same_trouble_without_any_fault() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let gate = Gate::default();
    cloud
        .server
        .stranger()
        .occupy(cloud.server.vm_id(), Hold::Until(gate.clone()))
        .await;
    for _ in 0..2 {
        cloud
            .user
            .call("detachVolume", &[("id", &id.to_string())])
            .await
            .unwrap();
    }
    assert!(matches!(
        cloud.server.violations()[..],
        [Violation::TwoLiveJobs { .. }]
    ));
    gate.open();
    let ended = || {
        cloud
            .server
            .snapshot()
            .jobs
            .iter()
            .all(|job| matches!(job.state, JobState::Succeeded(_)))
    };
    wait_until("both detaches", SOON, async || ended().then_some(())).await;
}

#[tokio::test]
async fn a_disk_may_have_another_size_than_its_volume() {
    let cloud = Cloud::start().await;
    for bytes in [-4096_i64, 1 << 20] {
        let id = cloud.create("a").await;
        cloud
            .server
            .faults()
            .next("attachVolume", Fault::WrongSize(bytes));
        cloud.attach(id).await.unwrap();
        let size = std::fs::metadata(cloud.server.disk(id).unwrap().image)
            .unwrap()
            .len();
        assert_eq!(size, (1_u64 << 30).saturating_add_signed(bytes));
        assert_eq!(cloud.server.volume(id).unwrap().size, 1 << 30);
    }
}

#[tokio::test]
async fn a_job_may_fail_with_any_text() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let text = "internal error: No more available PCI slots";
    cloud
        .server
        .faults()
        .next("attachVolume", Fault::FailInJob(530, text.to_owned()));
    assert_refused(cloud.attach(id).await, 530, text);
    assert!(!cloud.is_plugged(id).await);
    cloud.attach(id).await.unwrap();
}

#[tokio::test]
async fn faults_by_chance_follow_their_seed() {
    let chance = Chance::seeded("faults by chance");
    let run = async || -> Vec<u16> {
        let cloud = Cloud::start().await;
        let mut chance = chance.clone();
        cloud
            .server
            .faults()
            .by_chance("listZones", 500, Fault::Unauthorised, &mut chance);
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(
                cloud
                    .user
                    .post(&cloud.user.signed("listZones", &[]))
                    .await
                    .unwrap()
                    .status,
            );
        }
        seen
    };
    let first = run().await;
    assert_eq!(first, run().await);
    assert!(first.contains(&200) && first.contains(&401), "{first:?}");
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_the_callers_job_id() {
    let cloud = Cloud::start().await;
    let (id, job) = (cloud.create("a").await.to_string(), Uuid::new_v4().to_string());
    let params = [
        ("id", id.as_str()),
        ("virtualmachineid", &cloud.vm()),
        ("customjobid", &job),
    ];
    cloud.server.faults().next("attachVolume", Fault::LoseAnswer);
    cloud
        .user
        .post(&cloud.user.signed("attachVolume", &params))
        .await
        .unwrap_err();
    assert_eq!(cloud.user.outcome(&job).await.unwrap()["volume"]["id"], json!(id));
    assert!(Timestamp::now() > cloud.server.snapshot().jobs[0].created);
}

#[tokio::test]
async fn a_delete_may_answer_late_and_expired_calls_may_be_taken() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("deleteVolume", Fault::Slow(Hold::Until(gate.clone())));
    let delete = cloud.user.signed("deleteVolume", &[("id", &id.to_string())]);
    let answer = tokio::time::timeout(Duration::from_millis(100), cloud.user.post(&delete)).await;
    assert!(answer.is_err(), "a time-out means unknown");
    assert!(cloud.server.volume(id).unwrap().removed);
    gate.open();

    cloud.server.set_clock_ahead(SignedDuration::from_secs(120));
    assert_eq!(
        cloud.user.post(&create(&cloud, "expired")).await.unwrap().status,
        401
    );
    cloud.server.change(|settings| settings.expiry = Expiry::Ignored);
    assert_eq!(
        cloud.user.post(&create(&cloud, "expired")).await.unwrap().status,
        200
    );
}
