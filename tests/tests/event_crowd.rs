//! Many streams of events at once, and streams that nobody reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use rusqlite::Connection;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use volume_client::types::{AttachVolume, Event};
use whole_system_tests::{Appliance, Footprint, VM};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_are_told_the_same_once_and_in_order() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("told to many", MIB).await.id;
    let streams = try_join_all((0..200).map(|_| client.subscribe(None)))
        .await
        .unwrap();
    let attach = AttachVolume { vm_id: VM.into() };
    let operation = client.attach_volume(id, &attach).await.unwrap().id;
    let is_end =
        move |event: &Event| event.operation_id == Some(operation) && event.data["status"] == "completed";
    let told = join_all(streams.into_iter().map(|mut stream| async move {
        let mut told: Vec<Event> = Vec::new();
        while !told.last().is_some_and(is_end) {
            told.push(stream.next().await.unwrap().unwrap());
        }
        told
    }));
    let told = timeout(PATIENCE, told)
        .await
        .expect("every stream is told the end");
    let first = &told[0];
    assert!(
        first.windows(2).all(|two| two[0].id + 1 == two[1].id),
        "there are holes: {first:#?}"
    );
    assert!(told.iter().all(|one| one == first), "not all were told the same");
    appliance.detach(id).await;
}

/// Rows as if so many events had been recorded.
fn record_events(appliance: &Appliance, events: u32) {
    let mut rows = Connection::open(&appliance.setup.database).unwrap();
    let tx = rows.transaction().unwrap();
    let data = format!("{{\"filler\":\"{}\"}}", "x".repeat(200));
    for _ in 0..events {
        let sql = "INSERT INTO events (kind, data, at) VALUES ('volume', ?1, '2026-01-01T00:00:00Z')";
        tx.execute(sql, [&data]).unwrap();
    }
    tx.commit().unwrap();
}

/// Asks for all events, and reads none.
async fn ask_and_stall(appliance: &Appliance) -> UnixStream {
    let mut stream = UnixStream::connect(&appliance.setup.socket).await.unwrap();
    let ask = b"GET /api/v1/events?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

/// What a stream says up to the event with this number: numbers, and that some are missing.
async fn read_on(stream: UnixStream, last: u32) -> (Vec<u32>, Vec<String>) {
    let (mut numbers, mut missed) = (Vec::new(), Vec::new());
    let mut lines = BufReader::new(stream).lines();
    while numbers.last() != Some(&last) {
        let line = lines.next_line().await.unwrap().expect("the stream goes on");
        if let Some(number) = line.strip_prefix("id: ") {
            numbers.push(number.parse().unwrap());
        }
        missed.extend(line.strip_prefix(": missed: ").map(str::to_owned));
    }
    (numbers, missed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_costs_no_memory_and_is_told_what_it_missed() {
    const EVENTS: u32 = 20_000;
    const DROPPED: u32 = 15_000;
    const STALLED: usize = 40;
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    appliance.stop().await;
    record_events(&appliance, EVENTS);
    appliance.start().await;
    let before = Footprint::of(appliance.pid()).unwrap().rss_mib;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(ask_and_stall(&appliance).await);
    }
    // Others are told meanwhile, and from where they ask for.
    let mut brisk = appliance.client().events(Some(u64::from(EVENTS) - 1));
    let told = timeout(PATIENCE, brisk.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.id, u64::from(EVENTS));

    // As the daemon does with events that are older than the 100,000th.
    let rows = Connection::open(&appliance.setup.database).unwrap();
    rows.busy_timeout(PATIENCE).unwrap();
    rows.execute("DELETE FROM events WHERE id <= ?1", [DROPPED])
        .unwrap();
    let grown = Footprint::of(appliance.pid()).unwrap().rss_mib - before;
    // All events for each of them would be 240 MiB.
    assert!(
        grown < 40.0,
        "{STALLED} streams that nobody reads took {grown:.1} MiB"
    );

    let stream = stalled.pop().unwrap();
    let (numbers, missed) = timeout(PATIENCE, read_on(stream, EVENTS)).await.unwrap();
    let hole = numbers.windows(2).position(|two| two[0] + 1 != two[1]);
    let hole = hole.expect("what was dropped cannot be told");
    let (from, to) = (numbers[hole] + 1, numbers[hole + 1] - 1);
    assert!(from > 1 && to == DROPPED, "{from} to {to} are missing");
    assert_eq!(missed, [format!("events {from} to {to} are no longer kept")]);
    assert!(numbers[hole + 1..].windows(2).all(|two| two[0] + 1 == two[1]));
}
