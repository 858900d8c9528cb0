//! The stream of events: a whole attach, in order, and from where one left off.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use volume_client::client::EventStream;
use volume_client::types::{Event, EventKind, OperationId};
use whole_system_tests::Appliance;

const MIB: u64 = 1 << 20;

/// Events up to the end of an operation.
async fn until_completed(events: &mut EventStream, operation: OperationId) -> Vec<Event> {
    let mut seen = Vec::new();
    let whole = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            let ends = event.kind == EventKind::Operation
                && event.operation_id == Some(operation)
                && event.data["status"] == "completed";
            seen.push(event);
            if ends {
                return;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), whole).await;
    assert!(ended.is_ok(), "the end was not told: {seen:#?}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_attach_is_told_in_order_and_again_from_any_point() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("told", MIB).await.id;
    let mut events = client.events(Some(0));
    let attach = volume_client::types::AttachVolume {
        vm_id: whole_system_tests::VM.into(),
    };
    let operation = client.attach_volume(id, &attach).await.unwrap().id;
    let told = until_completed(&mut events, operation).await;
    assert!(
        told.iter().zip(1..).all(|(event, n)| event.id == n),
        "there are holes: {told:#?}"
    );
    let of_attach: Vec<_> = told
        .iter()
        .filter(|e| e.operation_id == Some(operation))
        .collect();
    let statuses: Vec<_> = of_attach
        .iter()
        .filter(|e| e.kind == EventKind::Operation)
        .map(|e| e.data["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["pending", "running", "completed"]);
    let position = |fits: &dyn Fn(&Event) -> bool| told.iter().position(fits).expect("it is told");
    let state = |text: &'static str| {
        position(&move |e| e.kind == EventKind::Volume && e.volume_id == Some(id) && e.data["state"] == text)
    };
    let bound = position(&|e| e.kind == EventKind::Mapping && e.volume_id == Some(id));
    assert!(state("attaching") < bound, "{told:#?}");
    assert!(state("in_use") <= bound + 1, "{told:#?}");

    // From the middle, by Last-Event-ID; also from another daemon.
    let middle = told.len() / 2;
    appliance.stop().await;
    appliance.start().await;
    let mut again = appliance.client().events(Some(told[middle - 1].id));
    let rest = until_completed(&mut again, operation).await;
    assert_eq!(rest, told[middle..]);
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_misses_nothing_while_the_daemon_is_killed() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let mut events = appliance.client().events(Some(0));
    let mut last = 0;
    for round in 0..3 {
        let id = appliance.create(&format!("round {round}"), MIB).await.id;
        appliance.attach(id).await;
        let filter = volume_client::client::OperationFilter {
            volume_id: Some(id),
            ..Default::default()
        };
        let operations = appliance
            .client()
            .list_operations(&filter, &Default::default())
            .await
            .unwrap();
        let told = until_completed(&mut events, operations.items.last().unwrap().id).await;
        for event in &told {
            assert_eq!(event.id, last + 1, "{told:#?}");
            last = event.id;
        }
        appliance.kill().await;
        appliance.start().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_an_event_stream_on_the_wire() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    appliance.create("wire", MIB).await;
    let request = appliance.raw().request(Method::GET, "/api/v1/events?after=0");
    let mut answer = request.send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let mut body = String::new();
    while !body.contains("\n\n") {
        let chunk = answer.chunk().await.unwrap().expect("the stream goes on");
        body.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let first: Vec<_> = body.split("\n\n").next().unwrap().lines().collect();
    assert!(first.contains(&"id: 1"), "{first:?}");
    assert!(first.iter().any(|line| line.starts_with("event: ")), "{first:?}");
    assert!(first.iter().any(|line| line.starts_with("data: {")), "{first:?}");
    // A stream ends when the daemon stops, and does not hold it up.
    assert!(appliance.stop().await.success());
    while let Some(_rest) = answer.chunk().await.unwrap() {}
}
