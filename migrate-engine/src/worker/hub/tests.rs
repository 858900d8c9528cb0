//! Callers and workers that meet at the hub, in paused time; and tunnels that close.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::UnixListener;
use uuid::Uuid;

use super::*;
use crate::block::{Cancel, InitialContent};
use crate::model::{DigestKind, MachineSpec};
use crate::source::{Cycle, Errand, FrozenDisk, Source as _, Wanted, What};
use crate::transfer::Progress;
use crate::worker::wire::{Moved, PhaseWord, TotalsText};

const SILENCE: Duration = Duration::from_secs(30);

fn hub() -> Hub {
    Hub::new(SILENCE)
}

fn source(hub: &Hub) -> RemoteSource {
    RemoteSource::new(hub.clone(), "w".to_owned(), "vc".to_owned())
}

fn report(instance: u128, busy_with: &[CallId], holds: &[CallId]) -> Report {
    Report {
        instance: Uuid::from_u128(instance),
        protocol: PROTOCOL,
        version: "test".to_owned(),
        busy_with: busy_with.to_vec(),
        holds: holds.to_vec(),
        leaves: false,
    }
}

/// A worker's first report, to which there are no orders.
async fn arrives(hub: &Hub, instance: u128) {
    let orders = hub.orders("w", &report(instance, &[], &[])).await.unwrap();
    assert!(orders.calls.is_empty());
}

/// What asks for machines, waiting.
fn asks(hub: &Hub) -> tokio::task::JoinHandle<Result<Vec<MachineSpec>, SourceFailure>> {
    let source = source(hub);
    tokio::spawn(async move { source.machines(&Wanted::default()).await })
}

async fn one_call(hub: &Hub, report: &Report) -> Call {
    loop {
        let mut orders = hub.orders("w", report).await.unwrap();
        if let Some(call) = orders.calls.pop() {
            return call;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_worker_a_call_fails_at_once_and_surely() {
    let failure = source(&hub()).machines(&Wanted::default()).await.unwrap_err();
    assert_eq!((failure.category, failure.is_unknown), (Category::Away, false));
    assert!(failure.to_string().contains("start `migrate-engine worker`"));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_done_once_and_its_outcome_taken_once() {
    let hub = hub();
    arrives(&hub, 1).await;
    let asked = asks(&hub);
    let call = one_call(&hub, &report(1, &[], &[])).await;
    assert_eq!(call.host, "vc");
    let orders = hub.orders("w", &report(1, &[call.id], &[])).await.unwrap();
    assert!(
        orders.calls.is_empty() && orders.cancelled.is_empty(),
        "{orders:?}"
    );
    assert!(
        !hub.outcome("another", call.id, Ok(Answer::Done)),
        "it is not its call"
    );
    assert!(hub.outcome("w", call.id, Ok(Answer::Machines(vec![MachineSpec::default()]))));
    assert_eq!(asked.await.unwrap().unwrap().len(), 1);
    assert!(!hub.outcome("w", call.id, Ok(Answer::Done)));
}

#[tokio::test(start_paused = true)]
async fn orders_that_were_lost_on_the_way_are_given_again() {
    let hub = hub();
    arrives(&hub, 1).await;
    let asked = asks(&hub);
    let lost = one_call(&hub, &report(1, &[], &[])).await;
    let again = one_call(&hub, &report(1, &[], &[])).await;
    assert_eq!(lost.id, again.id);
    assert!(hub.outcome("w", again.id, Ok(Answer::Machines(Vec::new()))));
    asked.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_loses_its_calls_and_is_told_so_when_it_is_back() {
    let hub = hub();
    arrives(&hub, 1).await;
    let asked = asks(&hub);
    let call = one_call(&hub, &report(1, &[], &[])).await;
    let failure = asked.await.unwrap().unwrap_err();
    assert_eq!((failure.category, failure.is_unknown), (Category::Away, true));
    assert!(!hub.is_present("w"));
    assert!(!hub.outcome("w", call.id, Ok(Answer::Done)), "it comes too late");
    let orders = hub.orders("w", &report(1, &[call.id], &[])).await.unwrap();
    assert_eq!(orders.cancelled, [call.id]);
    assert!(hub.is_present("w"));
}

#[tokio::test(start_paused = true)]
async fn another_process_is_refused_while_the_first_is_there_and_takes_its_place_afterwards() {
    let hub = hub();
    arrives(&hub, 1).await;
    let refused = hub.orders("w", &report(2, &[], &[])).await.unwrap_err();
    assert!(matches!(refused, Unwelcome::Occupied { .. }), "{refused}");
    let asked = asks(&hub);
    one_call(&hub, &report(1, &[], &[])).await;
    let leaves = Report {
        leaves: true,
        ..report(1, &[], &[])
    };
    let orders = hub.orders("w", &leaves).await.unwrap();
    assert!(orders.calls.is_empty(), "who leaves is given nothing");
    arrives(&hub, 2).await;
    let failure = asked.await.unwrap().unwrap_err();
    assert_eq!((failure.category, failure.is_unknown), (Category::Away, true));
}

#[tokio::test(start_paused = true)]
async fn another_version_is_refused() {
    let theirs = Report {
        protocol: PROTOCOL + 1,
        ..report(1, &[], &[])
    };
    let refused = hub().orders("w", &theirs).await.unwrap_err();
    assert!(refused.to_string().contains("same release"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_more_is_told_to_the_worker() {
    let hub = hub();
    arrives(&hub, 1).await;
    let asked = asks(&hub);
    let call = one_call(&hub, &report(1, &[], &[])).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    let orders = hub.orders("w", &report(1, &[call.id], &[])).await.unwrap();
    assert_eq!(orders.cancelled, [call.id]);
}

#[tokio::test(start_paused = true)]
async fn what_is_frozen_is_held_as_long_as_somebody_has_a_use_for_it() {
    let hub = hub();
    arrives(&hub, 1).await;
    let source = source(&hub);
    let cycle = Cycle {
        name: "c".to_owned(),
        owner: "o".to_owned(),
    };
    let freezing = tokio::spawn(async move { source.freeze(&MachineSpec::default(), &cycle).await });
    let call = one_call(&hub, &report(1, &[], &[])).await;
    assert!(hub.outcome("w", call.id, Ok(Answer::Frozen(Vec::new()))));
    let frozen = freezing.await.unwrap().unwrap();
    let orders = hub.orders("w", &report(1, &[], &[call.id])).await.unwrap();
    assert!(orders.forget.is_empty());
    drop(frozen);
    let orders = hub.orders("w", &report(1, &[], &[call.id])).await.unwrap();
    assert_eq!(orders.forget, [call.id]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_worker_goes_on_when_it_is_there() {
    let hub = hub();
    let waiting = hub.clone();
    let waiting = tokio::spawn(async move { waiting.present("w", Duration::from_secs(3600)).await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    arrives(&hub, 1).await;
    waiting.await.unwrap();
    hub.present("nobody", Duration::from_secs(1)).await;
}

/// A frozen disk of 1 MiB.
fn disk() -> FrozenDisk {
    FrozenDisk {
        id: "d".to_owned(),
        label: "d".to_owned(),
        capacity: 1 << 20,
        mark: None,
        content: None,
    }
}

/// A copy into the export at `socket`, that somebody waits for.
fn errand(socket: &std::path::Path) -> Errand {
    Errand {
        what: What::Everything,
        allocated: None,
        export: format!("nbd+unix:///x?socket={}", socket.display()),
        target_size: 1 << 20,
        initial: InitialContent::Zero,
        digest: DigestKind::Xxh3,
        workers: 1,
        memory: None,
        progress: Arc::new(Progress::new()),
        rate: Arc::new(|| Some(7)),
    }
}

/// What a machine was frozen by.
fn freezing() -> Call {
    Call {
        id: Uuid::from_u128(9),
        host: "vc".to_owned(),
        job: None,
        ask: Ask::Release {
            frozen: Uuid::from_u128(9),
        },
    }
}

#[tokio::test]
async fn a_copy_has_a_way_to_its_export_until_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let server = UnixListener::bind(&socket).unwrap();
    let hub = hub();
    arrives(&hub, 1).await;
    let frozen = frozen::RemoteFrozen::begin(hub.clone(), "w", &freezing());
    let errand = errand(&socket);
    let progress = Arc::clone(&errand.progress);
    let disk = disk();
    let delivering = tokio::spawn(async move {
        let courier = crate::source::Frozen::courier(&frozen).unwrap();
        courier.deliver(&disk, errand, &Cancel::new()).await
    });
    let call = one_call(&hub, &report(1, &[], &[])).await;
    let delivery = hub.delivery("w", call.id).unwrap();
    assert!(hub.delivery("another", call.id).is_none());
    let moved = Moved {
        phase: PhaseWord::Copying,
        total_bytes: 100,
        data_bytes: 100,
        data_done: 40,
        bytes_written: 40,
        zero_skipped: 0,
        data_resumed: 0,
        zero_found: 0,
        bytes_zeroed: 0,
    };
    let steer = delivery.moved(moved);
    assert_eq!((steer.rate, steer.is_to_end), (Some(7), false));
    assert_eq!(progress.snapshot().data_done, 40);

    let (mut worker, ours) = duplex(64);
    let passage = delivery.passage().await.unwrap();
    assert!(delivery.join(passage, async { Some(Box::new(ours) as Box<dyn Duplex>) }));
    let (mut export, _) = server.accept().await.unwrap();
    export.write_all(b"NBDMAGICIHAVEOPT\0\x03").await.unwrap();
    worker.read_exact(&mut [0; 18]).await.unwrap();
    worker.write_all(b"\0\0\0\x03").await.unwrap();
    // NBD_OPT_EXPORT_NAME: what follows it is the transmission.
    worker.write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\x01x").await.unwrap();
    worker.write_all(b"to the export").await.unwrap();
    let mut heard = [0; 34];
    export.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard[21..], b"to the export");

    // It ends without a copy; whatever the worker does from now on leads nowhere.
    let late = delivery.passage().await.unwrap();
    let failed = Failure {
        category: Category::Other,
        is_unknown: false,
        why: "no".to_owned(),
    };
    assert!(hub.outcome("w", call.id, Err(failed)));
    assert_eq!(delivering.await.unwrap().unwrap_err().to_string(), "no");
    assert_eq!(export.read(&mut heard).await.unwrap(), 0, "the tunnel is closed");
    let (_worker, ours) = duplex(64);
    assert!(!delivery.join(late, async { Some(Box::new(ours) as Box<dyn Duplex>) }));
    assert!(hub.delivery("w", call.id).is_none());
}

#[tokio::test]
async fn a_digest_of_another_disk_is_not_believed() {
    let hub = hub();
    arrives(&hub, 1).await;
    let frozen = frozen::RemoteFrozen::begin(hub.clone(), "w", &freezing());
    let disk = disk();
    let delivering = tokio::spawn(async move {
        let courier = crate::source::Frozen::courier(&frozen).unwrap();
        courier
            .deliver(&disk, errand(std::path::Path::new("/nowhere")), &Cancel::new())
            .await
    });
    let call = one_call(&hub, &report(1, &[], &[])).await;
    let digest = crate::worker::wire::DigestText::from(&super::super::wire::testing::digest(2 << 20));
    let totals = TotalsText::from(crate::transfer::CopyTotals::default());
    assert!(hub.outcome("w", call.id, Ok(Answer::Copied { totals, digest })));
    let failure = delivering.await.unwrap().unwrap_err();
    assert!(failure.to_string().contains("not asked"), "{failure}");
}
