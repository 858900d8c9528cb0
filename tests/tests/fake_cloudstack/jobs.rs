//! Jobs: whose id, whose turn, and how they end.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use whole_system_tests::cloudstack::{Fault, Gate, Hold, JobIds, JobState, Violation};
use whole_system_tests::wait_until;

use crate::cloud::{Cloud, SOON, assert_refused};

#[tokio::test]
async fn a_caller_may_choose_the_id_of_its_job() {
    let cloud = Cloud::start().await;
    let (id, job) = (cloud.create("a").await, Uuid::new_v4().to_string());
    let vm = cloud.vm();
    let text = id.to_string();
    let params = [
        ("id", text.as_str()),
        ("virtualmachineid", &vm),
        ("customjobid", &job),
    ];
    assert_refused(
        cloud.user.call("queryAsyncJobResult", &[("jobid", &job)]).await,
        431,
        "entity does not exist",
    );
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("attachVolume", Fault::Slow(Hold::Until(gate.clone())));
    assert_eq!(
        cloud.user.call("attachVolume", &params).await.unwrap()["jobid"],
        job.as_str()
    );
    assert_refused(
        cloud.user.call("attachVolume", &params).await,
        431,
        "already exists so can't create",
    );
    gate.open();
    cloud.user.outcome(&job).await.unwrap();
    assert_eq!(
        cloud.user.call("attachVolume", &params).await.unwrap_err().code,
        530,
        "finished, and still a duplicate"
    );
    let upper = [("id", text.as_str()), ("customjobid", &job.to_uppercase())];
    assert_eq!(
        cloud.user.call("detachVolume", &upper).await.unwrap_err().code,
        431
    );
    assert_eq!(cloud.server.violations(), [], "sent again under its own id");
}

#[tokio::test]
async fn a_repeated_create_leaves_a_volume_more() {
    let cloud = Cloud::start().await;
    let (offering, zone) = (
        cloud.server.fixed_offering_id().to_string(),
        cloud.server.zone_id().to_string(),
    );
    let job = Uuid::new_v4().to_string();
    let params = [
        ("name", "twin"),
        ("diskofferingid", &offering),
        ("zoneid", &zone),
        ("customjobid", &job),
    ];
    cloud.user.run("createVolume", &params).await.unwrap();
    assert!(cloud.user.call("createVolume", &params).await.is_err());
    assert_eq!(
        cloud.user.call("listVolumes", &[("name", "twin")]).await.unwrap()["count"],
        2
    );
}

#[tokio::test]
async fn an_older_server_does_not_know_the_callers_ids() {
    let cloud = Cloud::with(|setup| setup.settings.job_ids = JobIds::OfTheServer).await;
    let (id, job) = (cloud.create("a").await.to_string(), Uuid::new_v4().to_string());
    let params = [
        ("id", id.as_str()),
        ("virtualmachineid", &cloud.vm()),
        ("customjobid", &job),
    ];
    let started = cloud.user.call("attachVolume", &params).await.unwrap();
    assert_ne!(started["jobid"], job.as_str());
    assert_refused(
        cloud.user.call("queryAsyncJobResult", &[("jobid", &job)]).await,
        431,
        "does not exist",
    );
    cloud
        .user
        .outcome(started["jobid"].as_str().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_job_tells_whose_it_is_and_how_it_ended() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let failed = cloud
        .user
        .call("detachVolume", &[("id", &id.to_string())])
        .await
        .unwrap();
    let job = failed["jobid"].as_str().unwrap().to_owned();
    assert_refused(cloud.user.outcome(&job).await, 431, "not attached to a VM");
    let shown = cloud
        .user
        .call("queryAsyncJobResult", &[("jobid", &job)])
        .await
        .unwrap();
    assert_eq!(
        shown["jobresult"],
        json!({"errorcode": 431, "errortext": "The specified volume is not attached to a VM."})
    );
    assert_eq!(
        (&shown["jobinstancetype"], &shown["jobinstanceid"]),
        (&json!("Volume"), &json!(id))
    );
    assert_eq!(
        (&shown["jobstatus"], &shown["jobresultcode"]),
        (&json!(2), &json!(431))
    );
    assert_eq!(
        shown["cmd"],
        "org.apache.cloudstack.api.command.user.volume.DetachVolumeCmd"
    );

    let of_volume = [("resourcetype", "Volume"), ("resourceid", &id.to_string())];
    let listed = cloud.user.call("listAsyncJobs", &of_volume).await.unwrap();
    assert_eq!(
        (&listed["count"], &listed["asyncjobs"][1]["jobid"]),
        (&json!(2), &json!(job))
    );
    let other = cloud.server.caller(cloud.server.credentials("other"));
    assert_refused(
        other.call("queryAsyncJobResult", &[("jobid", &job)]).await,
        431,
        "does not exist",
    );
    cloud.server.expunge_jobs();
    assert_refused(
        cloud.user.call("queryAsyncJobResult", &[("jobid", &job)]).await,
        431,
        "does not exist",
    );
    assert_eq!(
        cloud.user.call("listAsyncJobs", &of_volume).await.unwrap(),
        json!({})
    );
}

#[tokio::test]
async fn the_jobs_of_a_vm_wait_for_each_other() {
    let cloud = Cloud::start().await;
    let (a, b) = (cloud.create("a").await, cloud.create("b").await);
    let gate = Gate::default();
    cloud
        .server
        .stranger()
        .occupy(cloud.server.vm_id(), Hold::Until(gate.clone()))
        .await;
    let mut jobs = Vec::new();
    for id in [a, b] {
        let params = [("id", id.to_string()), ("virtualmachineid", cloud.vm())];
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let started = cloud.user.call("attachVolume", &params).await.unwrap();
        jobs.push(started["jobid"].as_str().unwrap().to_owned());
    }
    let done = || [a, b].into_iter().filter(|id| cloud.is_attached(*id)).count();
    // A third job of no VM goes through meanwhile.
    cloud.create("c").await;
    assert_eq!(done(), 0);
    gate.open();
    for job in &jobs {
        cloud.user.outcome(job).await.unwrap();
    }
    assert_eq!(done(), 2);
    assert_eq!(
        cloud.server.volume(a).unwrap().attachment.unwrap().device_id,
        1,
        "in the order they came"
    );
}

#[tokio::test]
async fn a_job_that_blocks_others_fails_with_nothing_while_its_work_goes_on() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("attachVolume", Fault::JudgedBlocking(Hold::Until(gate.clone())));
    let refusal = cloud.attach(id).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.text.as_str()),
        (0, ""),
        "failed with code 0 and no result"
    );
    let last = cloud.server.snapshot().jobs.pop().unwrap();
    assert_eq!(
        last.state,
        JobState::Failed {
            code: 0,
            result: None
        }
    );
    assert!(!cloud.is_attached(id));
    let other = cloud.create("b").await;
    cloud.attach(other).await.unwrap();
    gate.open();
    wait_until("the work to end", SOON, async || {
        cloud.is_attached(id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_jobs_of_a_client_for_one_volume_are_noted() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("detachVolume", Fault::Slow(Hold::Until(gate.clone())));
    let detach = async || cloud.user.call("detachVolume", &[("id", &id.to_string())]).await;
    detach().await.unwrap();
    let second = detach().await.unwrap();
    let expected = Violation::TwoLiveJobs {
        volume: id,
        living: "detachVolume".to_owned(),
        second: "detachVolume".to_owned(),
    };
    assert_eq!(cloud.server.violations(), [expected]);
    gate.open();
    let late = cloud.user.outcome(second["jobid"].as_str().unwrap()).await;
    assert!(
        late.is_ok(),
        "a disk that is gone is detached with success: {late:?}"
    );
}

#[tokio::test]
async fn a_job_may_be_slow_by_the_clock() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    cloud
        .server
        .faults()
        .next("attachVolume", Fault::Slow(Hold::For(Duration::from_millis(300))));
    let began = std::time::Instant::now();
    cloud.attach(id).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
}
