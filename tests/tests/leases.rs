//! Leases: one writer, no detach under a holder that lives, and none that is blocked for ever by one that died.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::time::Duration;

use volume_client::client::{DEFAULT_WAIT, VolumedClient};
use volume_client::types::{
    Cursor, ErrorCode, LeaseAccess, LeaseGrant, LeasePurpose, NewLease, RenewLease, ResizeVolume, VolumeId,
};
use whole_system_tests::{Appliance, Holder, code_of, failed_operation, wait_until};

const MIB: u64 = 1 << 20;

fn lease(volume_id: VolumeId, access: LeaseAccess, ttl_seconds: Option<u32>) -> NewLease {
    let (purpose, holder) = (LeasePurpose::Transfer, "a test".to_owned());
    NewLease {
        volume_id,
        purpose,
        access,
        holder,
        detail: Some("job 7".into()),
        ttl_seconds,
    }
}

async fn expired(client: &VolumedClient, grant: &LeaseGrant) {
    wait_until("the lease to expire", Duration::from_secs(15), async || {
        client.lease(grant.lease.id).await.unwrap().expired.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_has_one_writer_and_any_number_of_readers() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("shared", MIB).await.id;
    appliance.attach(id).await;
    let writer = client
        .take_lease(&lease(id, LeaseAccess::Write, None))
        .await
        .unwrap();
    assert!(writer.known_zero);
    let second = client.take_lease(&lease(id, LeaseAccess::Write, None)).await;
    assert_eq!(code_of(second), ErrorCode::VolumeLeased);
    let reader = client
        .take_lease(&lease(id, LeaseAccess::Read, None))
        .await
        .unwrap();
    assert!(!reader.known_zero);
    client.release_lease(writer.lease.id).await.unwrap();
    let next = client
        .take_lease(&lease(id, LeaseAccess::Write, None))
        .await
        .unwrap();
    assert!(!next.known_zero, "only the first writer is told so");

    let grow = ResizeVolume { size_bytes: 2 * MIB };
    assert_eq!(code_of(client.detach_volume(id).await), ErrorCode::VolumeLeased);
    assert_eq!(
        code_of(client.resize_volume(id, &grow).await),
        ErrorCode::VolumeLeased
    );
    for id in [reader.lease.id, next.lease.id] {
        client.release_lease(id).await.unwrap();
    }
    assert_eq!(client.list_leases(&Cursor::default()).await.unwrap().items, []);
    assert_eq!(
        code_of(client.renew_lease(next.lease.id, &RenewLease::default()).await),
        ErrorCode::LeaseNotFound
    );
    appliance.detach(id).await;
}

/// A crash of the daemon ends no lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_its_daemon() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("held", MIB).await.id;
    appliance.attach(id).await;
    let grant = appliance
        .client()
        .take_lease(&lease(id, LeaseAccess::Write, None))
        .await
        .unwrap();
    appliance.kill().await;
    appliance.start().await;
    let client = appliance.client();
    assert_eq!(client.lease(grant.lease.id).await.unwrap().holder, "a test");
    assert_eq!(code_of(client.detach_volume(id).await), ErrorCode::VolumeLeased);
    client
        .renew_lease(grant.lease.id, &RenewLease::default())
        .await
        .unwrap();
    client.release_lease(grant.lease.id).await.unwrap();
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_counts_while_its_holder_lives_and_not_once_it_died() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("abandoned", MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let grant = client
        .take_lease(&lease(id, LeaseAccess::Write, Some(5)))
        .await
        .unwrap();
    let device = File::options().read(true).write(true).open(&path).unwrap();
    let mut holder = Holder::of(device);
    expired(&client, &grant).await;

    // Nothing is decided by time alone: the holder lives.
    let refused = failed_operation(client.detach_and_wait(id, DEFAULT_WAIT).await);
    assert_eq!(refused.error_code, Some(ErrorCode::VolumeLeased), "{refused:#?}");
    assert!(refused.error.unwrap().contains(&format!("pid {}", holder.pid())));
    assert_eq!(client.volume_device(id).await.unwrap().device_path, path);
    assert_eq!(client.lease(grant.lease.id).await.unwrap().id, grant.lease.id);

    holder.kill();
    client.detach_and_wait(id, DEFAULT_WAIT).await.unwrap();
    assert_eq!(
        code_of(client.lease(grant.lease.id).await),
        ErrorCode::LeaseNotFound
    );
    assert!(appliance.loops().is_empty());
}

/// A writer that died must not keep the next one away for ever either.
#[tokio::test(flavor = "multi_thread")]
async fn the_expired_lease_of_a_dead_writer_does_not_keep_the_next_writer_away() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("inherited", MIB).await.id;
    appliance.attach(id).await;
    let grant = client
        .take_lease(&lease(id, LeaseAccess::Write, Some(5)))
        .await
        .unwrap();
    expired(&client, &grant).await;
    let next = client
        .take_lease(&lease(id, LeaseAccess::Write, None))
        .await
        .unwrap();
    assert!(!next.known_zero);
    client.release_lease(next.lease.id).await.unwrap();
    appliance.detach(id).await;
}
