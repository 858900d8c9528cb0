//! Asking twice: under one idempotency key everything happens once, whatever happens to the daemon in between.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use volume_client::client::{DEFAULT_WAIT, IdempotencyKey, OperationFilter};
use volume_client::types::{
    AttachVolume, Cursor, ErrorCode, LeaseAccess, LeasePurpose, NewLease, NewVolume, SourceDisk,
};
use whole_system_tests::{Appliance, VM, code_of};

const MIB: u64 = 1 << 20;

fn volume(name: &str) -> NewVolume {
    NewVolume {
        name: name.into(),
        size_bytes: MIB,
        source: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_operation_also_after_a_crash() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let key = IdempotencyKey::fresh();
    let client = appliance.client().with_idempotency_key(key.clone());
    let first = client.create_volume(&volume("once")).await.unwrap();
    assert_eq!(client.create_volume(&volume("once")).await.unwrap().id, first.id);
    appliance.kill().await;
    appliance.start().await;
    let again = client.create_volume(&volume("once")).await.unwrap();
    assert_eq!((again.id, again.volume_id), (first.id, first.volume_id));
    client.wait_for_completion(first.id, DEFAULT_WAIT).await.unwrap();
    let ended = client.create_volume(&volume("once")).await.unwrap();
    assert_eq!(ended.id, first.id);
    let all = appliance
        .client()
        .list_volumes(&Default::default(), &Cursor::default())
        .await
        .unwrap();
    assert_eq!(all.items.len(), 1, "{:#?}", all.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_request() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client().with_idempotency_key(IdempotencyKey::fresh());
    let first = client.create_volume(&volume("one")).await.unwrap();
    assert_eq!(
        code_of(client.create_volume(&volume("other")).await),
        ErrorCode::IdempotencyKeyReused
    );
    client.wait_for_completion(first.id, DEFAULT_WAIT).await.unwrap();
    let attach = AttachVolume { vm_id: VM.into() };
    let other = client.attach_volume(first.volume_id, &attach).await;
    assert_eq!(code_of(other), ErrorCode::IdempotencyKeyReused);
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_under_one_key_make_one_volume() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client().with_idempotency_key(IdempotencyKey::fresh());
    let calls = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.create_volume(&volume("once")).await.unwrap().id })
    });
    let ids = futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
    let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let client = appliance.client();
    let all = client
        .list_operations(&OperationFilter::default(), &Cursor::default())
        .await;
    assert_eq!(all.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_taken_once_under_one_key() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("leased", MIB).await.id;
    appliance.attach(id).await;
    let client = appliance.client().with_idempotency_key(IdempotencyKey::fresh());
    let mut new = NewLease {
        volume_id: id,
        purpose: LeasePurpose::Transfer,
        access: LeaseAccess::Write,
        holder: "test".into(),
        detail: None,
        ttl_seconds: None,
    };
    let first = client.take_lease(&new).await.unwrap();
    appliance.kill().await;
    appliance.start().await;
    let again = client.take_lease(&new).await.unwrap();
    assert_eq!(again.lease.id, first.lease.id);
    assert_eq!(
        (first.known_zero, again.known_zero),
        (true, true),
        "the same answer"
    );
    new.holder = "other".into();
    assert_eq!(
        code_of(client.take_lease(&new).await),
        ErrorCode::IdempotencyKeyReused
    );
    appliance.client().release_lease(first.lease.id).await.unwrap();
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_disk_has_one_volume_however_many_ask() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let source = SourceDisk {
        vm: "vm-1".into(),
        disk: "disk-2000".into(),
    };
    let calls = (0..8).map(|n| {
        let (client, source) = (appliance.client(), source.clone());
        tokio::spawn(async move {
            let new = NewVolume {
                source: Some(source),
                ..volume(&format!("copy {n}"))
            };
            client.create_volume(&new).await
        })
    });
    let answers = futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for answer in refused {
        assert_eq!(code_of(answer), ErrorCode::SourceTaken);
    }
    let volume = appliance
        .client()
        .volume_of_source(&source)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(volume.id, made[0].as_ref().unwrap().volume_id);
}
