//! Leases and the daemon's death: taken, renewed and given back once, however often the client has to ask.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use volume_client::client::{ClientError, IdempotencyKey, VolumedClient};
use volume_client::types::{
    ErrorCode, LeaseAccess, LeaseGrant, LeasePurpose, NewLease, RenewLease, VolumeId,
};
use whole_system_tests::{CloudSite, code_of, wait_until};

const GIB: u64 = 1 << 30;
const CRASH: &str = "TEST_CRASH_AT";

/// A site with an attached volume, whose daemon dies at this point.
async fn dying_at(point: &str) -> Option<(CloudSite, VolumeId)> {
    let mut site = CloudSite::new().await?;
    site.daemon.setup.environment.push((CRASH, point.to_owned()));
    site.daemon.start().await;
    let id = site.daemon.create("leased", GIB).await.id;
    site.daemon.attach(id).await;
    Some((site, id))
}

/// Waits until the daemon has died, and starts one that does not.
async fn start_again(site: &mut CloudSite) {
    site.daemon.ended().await;
    site.daemon.setup.environment.retain(|(name, _)| *name != CRASH);
    site.daemon.start().await;
}

async fn take(client: &VolumedClient, id: VolumeId, key: &IdempotencyKey) -> Result<LeaseGrant, ClientError> {
    let new = NewLease {
        volume_id: id,
        purpose: LeasePurpose::Transfer,
        access: LeaseAccess::Write,
        holder: "a test".to_owned(),
        detail: None,
        ttl_seconds: Some(300),
    };
    client.with_idempotency_key(key.clone()).take_lease(&new).await
}

/// Asks until there is an answer, as a client that does not know what became of its request.
async fn told<T>(ask: impl AsyncFn() -> Result<T, ClientError>) -> T {
    wait_until("an answer", Duration::from_secs(30), async || match ask().await {
        Ok(answer) => Some(answer),
        Err(error) if matches!(error.code(), None | Some(ErrorCode::NotReady)) => None,
        Err(error) => panic!("refused: {error}"),
    })
    .await
}

/// Gives all leases back, after which the volume can be detached.
async fn ends_well(site: &CloudSite, id: VolumeId) {
    let client = site.daemon.client();
    for lease in client.list_leases(&Default::default()).await.unwrap().items {
        client.release_lease(lease.id).await.unwrap();
    }
    client.detach_and_wait(id, Duration::from_secs(30)).await.unwrap();
    site.assert_well_behaved();
}

async fn taken_once(point: &str) {
    let Some((mut site, id)) = dying_at(point).await else {
        return;
    };
    let (key, client) = (IdempotencyKey::fresh(), site.daemon.client());
    let (granted, ()) = tokio::join!(told(|| take(&client, id, &key)), start_again(&mut site));
    let lease = granted.lease.id;
    let leases = client.list_leases(&Default::default()).await.unwrap().items;
    assert_eq!(leases.iter().map(|one| one.id).collect::<Vec<_>>(), [lease]);
    assert_eq!(take(&client, id, &key).await.unwrap().lease.id, lease);
    let second = take(&client, id, &IdempotencyKey::fresh()).await;
    assert_eq!(code_of(second), ErrorCode::VolumeLeased);
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_not_recorded_is_taken_once() {
    taken_once("lease/take/before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_recorded_and_not_told_is_the_same_lease() {
    taken_once("lease/take/after").await;
}

async fn renewed(point: &str) {
    let Some((mut site, id)) = dying_at(point).await else {
        return;
    };
    let (key, client) = (IdempotencyKey::fresh(), site.daemon.client());
    let lease = take(&client, id, &key).await.unwrap().lease;
    let longer = RenewLease {
        ttl_seconds: Some(4000),
    };
    let once = client.with_idempotency_key(IdempotencyKey::fresh());
    tokio::join!(
        told(|| once.renew_lease(lease.id, &longer)),
        start_again(&mut site)
    );
    let seen = client.lease(lease.id).await.unwrap();
    let longer_by = seen.expires_at.duration_since(lease.expires_at);
    assert!(longer_by.as_secs() > 3000, "{seen:?}");
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_not_recorded_is_repeated() {
    renewed("lease/renew/before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_recorded_and_not_told_stands() {
    renewed("lease/renew/after").await;
}

async fn given_back(point: &str) {
    let Some((mut site, id)) = dying_at(point).await else {
        return;
    };
    let (key, client) = (IdempotencyKey::fresh(), site.daemon.client());
    let lease = take(&client, id, &key).await.unwrap().lease;
    let once = client.with_idempotency_key(IdempotencyKey::fresh());
    tokio::join!(told(|| once.release_lease(lease.id)), start_again(&mut site));
    // Its key does not bring it back, and somebody else can have the device.
    assert_eq!(code_of(take(&client, id, &key).await), ErrorCode::LeaseNotFound);
    take(&client, id, &IdempotencyKey::fresh()).await.unwrap();
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_was_not_recorded_is_repeated() {
    given_back("lease/release/before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_was_recorded_and_not_told_stands() {
    given_back("lease/release/after").await;
}
