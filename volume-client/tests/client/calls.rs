//! Single calls: what is repeated and under which key, what is not, and how answers are read.

use futures_util::TryStreamExt;
use serde_json::json;
use volume_client::client::{ClientError, ProtocolError, VolumeFilter};
use volume_client::types::{
    ErrorCode, LeaseAccess, LeasePurpose, NewLease, NewVolume, OperationKind, OperationStatus, SourceDisk,
    Volume, VolumeState,
};
use volume_client::{IdempotencyKey, VolumedClient};

use crate::client;
use crate::fake::{Fake, Reply, sample, start_tcp};

fn new_volume() -> NewVolume {
    NewVolume {
        name: "disk".to_owned(),
        size_bytes: 1 << 30,
        source: None,
    }
}

fn pending() -> Reply {
    Reply::accepted(sample::operation(OperationKind::Create, OperationStatus::Pending))
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_repeated_under_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::HangUp,
        1 => Reply::Raw(b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{\"id\":".to_vec()),
        2 => Reply::Silence,
        _ => pending(),
    });
    let operation = client(&fake).create_volume(&new_volume()).await.unwrap();
    assert_eq!(operation.id.to_string(), sample::OPERATION);
    let seen = fake.seen();
    assert_eq!(seen.len(), 4);
    assert!(!seen[0].key().is_empty());
    assert!(
        seen.iter()
            .all(|s| s.key() == seen[0].key() && s.body == seen[0].body)
    );

    client(&fake).create_volume(&new_volume()).await.unwrap();
    assert_ne!(
        fake.seen()[4].key(),
        seen[0].key(),
        "another call is another change"
    );
}

#[tokio::test]
async fn the_callers_own_key_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| pending());
    let key: IdempotencyKey = "job-1/disk-2/create".parse().unwrap();
    client(&fake)
        .with_idempotency_key(key)
        .create_volume(&new_volume())
        .await
        .unwrap();
    assert_eq!(fake.seen()[0].key(), "job-1/disk-2/create");
}

#[tokio::test]
async fn a_change_without_an_answer_is_of_unknown_outcome_and_tells_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| Reply::Silence);
    let error = client(&fake).create_volume(&new_volume()).await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    let ClientError::TimedOut { key: Some(key), .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(fake.seen().len(), 4);
    assert_eq!(fake.seen()[3].key(), key.as_str());
}

#[tokio::test]
async fn doubt_is_not_forgotten_when_the_daemon_is_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("volumed.sock");
    let gone = socket.clone();
    let fake = Fake::start(dir.path(), move |_| {
        std::fs::remove_file(&gone).unwrap();
        Reply::HangUp
    });
    let error = client(&fake).create_volume(&new_volume()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::AnswerLost { key: Some(_), .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_daemon_that_was_never_reached_has_done_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let error = VolumedClient::unix(&socket)
        .unwrap()
        .create_volume(&new_volume())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
    assert!(error.to_string().contains("none.sock"));
    assert!(error.hint().unwrap().contains("systemctl"));
}

#[tokio::test]
async fn not_ready_is_asked_again_and_a_refusal_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::problem(ErrorCode::NotReady, "starting"),
        1 => Reply::problem(ErrorCode::SourceTaken, "disk-1 has a volume"),
        _ => panic!("asked again after a refusal"),
    });
    let error = client(&fake).create_volume(&new_volume()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SourceTaken));
    assert_eq!(error.request_id(), Some("req-1"));
    assert_eq!(error.hint().as_deref(), Some("do something about it"));
    assert_eq!(error.to_string(), "disk-1 has a volume (source_taken)");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn not_ready_to_the_end_is_the_daemons_own_word() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| Reply::problem(ErrorCode::NotReady, "starting"));
    let error = client(&fake).status().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotReady));
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn answers_without_sense_are_told_from_refusals() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::Json(500, json!("proxy says hello")),
        1 => Reply::ok(json!({ "version": 1 })),
        _ => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 17000000\r\n\r\n".to_vec()),
    });
    let client = client(&fake);
    let mut reasons = Vec::new();
    for _ in 0..3 {
        match client.status().await.unwrap_err() {
            ClientError::Protocol { source, .. } => reasons.push(source),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        matches!(&reasons[0], ProtocolError::Status { status: 500, excerpt } if excerpt.contains("proxy"))
    );
    assert!(matches!(&reasons[1], ProtocolError::Body(_)));
    assert!(matches!(&reasons[2], ProtocolError::TooLarge { .. }));
}

#[tokio::test]
async fn a_body_that_does_not_end_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[".to_vec();
        bytes.resize(17 * 1024 * 1024, b' ');
        Reply::RawThenSilence(bytes)
    });
    let patient = VolumedClient::unix(&fake.socket).unwrap();
    let error = patient.status().await.unwrap_err();
    let too_large = matches!(
        error,
        ClientError::Protocol {
            source: ProtocolError::TooLarge { .. },
            ..
        }
    );
    assert!(too_large, "{error:?}");
}

#[tokio::test]
async fn all_pages_are_read_and_a_circle_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| {
        let page = |name: &str, next: &str| {
            Reply::ok(json!({ "items": [sample::volume(sample::VOLUME, name)], "next_cursor": next }))
        };
        match seen.query.as_str() {
            "state=in_use&limit=1000" => page("a", "c1"),
            "state=in_use&cursor=c1&limit=1000" => Reply::ok(json!({ "items": [], "next_cursor": "c2" })),
            "state=in_use&cursor=c2&limit=1000" => Reply::page(&[sample::volume(sample::VOLUME, "b")]),
            "name=round&limit=1000" => page("c", "same"),
            "name=round&cursor=same&limit=1000" => page("d", "same"),
            other => panic!("unexpected query {other}"),
        }
    });
    let filter = VolumeFilter {
        state: Some(VolumeState::InUse),
        ..VolumeFilter::default()
    };
    let all: Vec<Volume> = client(&fake)
        .list_all_volumes(filter)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        all.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );

    let filter = VolumeFilter {
        name: Some("round".to_owned()),
        ..VolumeFilter::default()
    };
    let round: Result<Vec<Volume>, _> = client(&fake).list_all_volumes(filter).try_collect().await;
    assert!(matches!(round, Err(ClientError::Protocol { .. })));
}

#[tokio::test]
async fn a_volume_of_another_source_is_never_taken_for_the_one_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        Reply::page(&[sample::volume(sample::VOLUME, "a")])
    });
    let source = |disk: &str| SourceDisk {
        vm: "vm-7".to_owned(),
        disk: disk.to_owned(),
    };
    let client = client(&fake);
    assert!(
        client
            .volume_of_source(&source("disk-2000"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        client
            .volume_of_source(&source("disk-2001"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(fake.seen()[0].query, "source_vm=vm-7&source_disk=disk-2000");
}

#[tokio::test]
async fn releasing_a_lease_twice_by_a_repeat_is_one_release() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::HangUp,
        _ => Reply::problem(ErrorCode::LeaseNotFound, "no such lease"),
    });
    let id = sample::LEASE.parse().unwrap();
    client(&fake).release_lease(id).await.unwrap();
    let error = client(&fake).release_lease(id).await.unwrap_err();
    assert_eq!(
        error.code(),
        Some(ErrorCode::LeaseNotFound),
        "there was none to begin with"
    );
}

#[tokio::test]
async fn over_tcp_it_is_the_same() {
    let url = start_tcp(|seen| {
        assert_eq!(seen.call(), "POST /api/v1/leases");
        assert_eq!(seen.json()["purpose"], "export");
        Reply::Json(
            201,
            serde_json::to_value(sample::grant(sample::volume_device())).unwrap(),
        )
    })
    .await;
    let new = NewLease {
        volume_id: sample::VOLUME.parse().unwrap(),
        purpose: LeasePurpose::Export,
        access: LeaseAccess::Write,
        holder: "test".to_owned(),
        detail: None,
        ttl_seconds: None,
    };
    let grant = VolumedClient::http(url).unwrap().take_lease(&new).await.unwrap();
    assert_eq!(grant.lease, sample::lease());
}

#[tokio::test]
async fn a_daemon_that_is_not_ready_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| {
        assert_eq!(seen.call(), "GET /readyz");
        let checks = json!([{ "name": "cloud", "ok": false, "detail": "no answer" }]);
        Reply::Json(503, json!({ "ready": false, "checks": checks }))
    });
    assert!(!client(&fake).readiness().await.unwrap().ready);
    assert_eq!(fake.seen().len(), 1);
}
