//! Following what happens: waiting for operations across restarts, and the stream of events.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use volume_client::client::ClientError;
use volume_client::types::{AttachVolume, ErrorCode, EventKind, OperationKind, OperationStatus};

use crate::client;
use crate::fake::{Fake, Reply, sample, wait_until};

fn client_at(dir: &std::path::Path) -> volume_client::VolumedClient {
    volume_client::VolumedClient::unix(dir.join("volumed.sock")).unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_attach_is_followed_to_its_device() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match (seen.method.as_str(), seen.nth) {
        ("POST", _) => Reply::accepted(sample::operation(OperationKind::Attach, OperationStatus::Pending)),
        (_, 1) => Reply::ok(sample::operation(OperationKind::Attach, OperationStatus::Running)),
        _ => Reply::ok(sample::attached()),
    });
    let attach = AttachVolume {
        vm_id: "appliance-1".to_owned(),
    };
    let id = sample::VOLUME.parse().unwrap();
    let response = client(&fake).attach_and_wait(id, &attach, LONG).await.unwrap();
    assert_eq!(
        (response.device_path.as_str(), response.diskseq),
        ("/dev/loop7", Some(42))
    );
    assert_eq!(fake.seen()[0].json()["vm_id"], "appliance-1");
    let poll = &fake.seen()[1];
    assert_eq!(poll.path, format!("/api/v1/operations/{}", sample::OPERATION));
    assert!(poll.query.starts_with("wait="), "{}", poll.query);
}

#[tokio::test]
async fn a_restart_of_the_daemon_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let before = Fake::start(dir.path(), |_| Reply::Silence);
    let waiting = client(&before);
    let id = sample::OPERATION.parse().unwrap();
    let waiter = tokio::spawn(async move { waiting.wait_for_completion(id, LONG).await });
    wait_until("the first poll", || !before.seen().is_empty()).await;
    drop(before);
    // Long enough for the waiter, too, to find nobody there.
    let away = client_at(dir.path())
        .wait_for_completion(id, Duration::from_millis(600))
        .await
        .unwrap_err();
    let ClientError::WaitTimeout {
        source: Some(source), ..
    } = away
    else {
        panic!("{away:?}")
    };
    assert!(matches!(*source, ClientError::Unreachable { .. }), "{source:?}");
    let after = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::problem(ErrorCode::NotReady, "recovering"),
        _ => Reply::ok(sample::attached()),
    });
    let done = waiter.await.unwrap().unwrap();
    assert_eq!(done.status, OperationStatus::Completed);
    assert_eq!(after.seen().len(), 2);
}

#[tokio::test]
async fn what_did_not_end_in_time_is_unknown_and_not_failed() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::ok(sample::operation(OperationKind::Attach, OperationStatus::Running)),
        _ => Reply::HangUp,
    });
    let id = sample::OPERATION.parse().unwrap();
    let error = client(&fake)
        .wait_for_completion(id, Duration::from_millis(700))
        .await
        .unwrap_err();
    assert!(error.outcome_unknown());
    let ClientError::WaitTimeout {
        operation,
        last: Some(last),
        source: Some(source),
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((operation, last.status), (id, OperationStatus::Running));
    assert!(matches!(*source, ClientError::AnswerLost { .. }));
}

#[tokio::test]
async fn failed_and_cancelled_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::ok(sample::failed(OperationKind::Attach)),
        1 => Reply::ok(sample::operation(
            OperationKind::Attach,
            OperationStatus::Cancelled,
        )),
        _ => Reply::problem(ErrorCode::OperationNotFound, "no such operation"),
    });
    let client = client(&fake);
    let id = sample::OPERATION.parse().unwrap();
    let failed = client.wait_for_completion(id, LONG).await.unwrap_err();
    assert!(matches!(failed, ClientError::OperationFailed(_)));
    assert_eq!(failed.code(), Some(ErrorCode::DeviceMissing));
    assert_eq!(failed.hint().as_deref(), Some("look at the kernel's log"));
    let cancelled = client.wait_for_completion(id, LONG).await.unwrap_err();
    assert!(matches!(cancelled, ClientError::OperationCancelled(_)));
    let unknown = client.wait_for_completion(id, LONG).await.unwrap_err();
    assert_eq!(
        unknown.code(),
        Some(ErrorCode::OperationNotFound),
        "nothing to wait for"
    );
}

#[tokio::test]
async fn events_go_on_after_the_last_one_when_the_connection_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let frames = |ids: &[u64]| {
        let each = ids
            .iter()
            .map(|id| sample::frame(&sample::event(*id, EventKind::Volume)));
        each.collect::<Vec<_>>().join(": heartbeat\n\n")
    };
    let fake = Fake::start(dir.path(), move |seen| match seen.nth {
        // The last event is cut in the middle: it must come again, whole.
        0 => Reply::Raw(Reply::events(&(frames(&[5, 6]) + "id: 7\ndata: {\"id\":7"))),
        1 => Reply::HangUp,
        2 => Reply::Raw(Reply::events(&frames(&[6, 7]))),
        _ => Reply::RawThenSilence(Reply::events(&frames(&[8]))),
    });
    let events: Vec<_> = client(&fake).events(Some(4)).take(4).try_collect().await.unwrap();
    assert_eq!(events.iter().map(|e| e.id).collect::<Vec<_>>(), [5, 6, 7, 8]);
    let resumed: Vec<_> = fake
        .seen()
        .iter()
        .map(|s| s.headers["last-event-id"].clone())
        .collect();
    assert_eq!(resumed, ["4", "6", "6", "7"]);
}

#[tokio::test]
async fn what_is_no_event_ends_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::Raw(Reply::events("id: 9\ndata: nonsense\n\n")),
        1 => Reply::ok(serde_json::json!({})),
        _ => Reply::problem(ErrorCode::RouteNotFound, "no such path"),
    });
    for _ in 0..2 {
        let error = client(&fake).events(None).next().await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    }
    let error = client(&fake).events(None).next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::RouteNotFound));
}
