//! What the tests of this file ask of a site: volumes with a marker, attaches under way, and how often a command came.

use std::time::Duration;

use volume_client::client::{ClientError, OpenDevice};
use volume_client::types::{
    AttachResponse, AttachVolume, ConditionKind, ErrorCode, LeaseAccess, LeasePurpose, Operation, VolumeId,
};
use whole_system_tests::{CloudSite, failed_operation, read_marker, wait_until, write_marker};

pub(crate) const GIB: u64 = 1 << 30;

/// Longer than a lost request stays in doubt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn here(site: &CloudSite) -> AttachVolume {
    AttachVolume {
        vm_id: site.cloud.vm_id().to_string(),
    }
}

/// Starts an attach and returns its operation at once.
pub(crate) async fn attach_begun(site: &CloudSite, id: VolumeId) -> Operation {
    let client = site.daemon.client();
    client.attach_volume(id, &here(site)).await.unwrap()
}

pub(crate) async fn attached(site: &CloudSite, id: VolumeId) -> Result<AttachResponse, ClientError> {
    let client = site.daemon.client();
    client.attach_and_wait(id, &here(site), PATIENCE).await
}

pub(crate) async fn detached(site: &CloudSite, id: VolumeId) -> Result<Operation, ClientError> {
    site.daemon.client().detach_and_wait(id, PATIENCE).await
}

/// Waits until an operation has ended well.
pub(crate) async fn completed(site: &CloudSite, operation: &Operation) -> Operation {
    let client = site.daemon.client();
    client.wait_for_completion(operation.id, PATIENCE).await.unwrap()
}

/// A volume that is attached and says whose it is.
pub(crate) async fn marked(site: &CloudSite, name: &str) -> VolumeId {
    let id = site.daemon.create(name, GIB).await.id;
    attached(site, id).await.unwrap();
    let open = OpenDevice::new(LeaseAccess::Write, LeasePurpose::Transfer, "a test");
    let opened = site.daemon.client().open_device(id, open).await.unwrap();
    write_marker(opened.file(), &id.to_string()).unwrap();
    opened.close().await.unwrap();
    id
}

/// Why an operation failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Why the operation failed that must have failed.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Failed {
    let operation = failed_operation(result);
    Failed {
        code: operation.error_code.unwrap(),
        message: operation.error.unwrap(),
        hint: operation.error_hint.unwrap_or_default(),
    }
}

/// Whose the bytes of an attached volume say they are.
pub(crate) async fn owner(site: &CloudSite, id: VolumeId) -> Option<String> {
    let open = OpenDevice::new(LeaseAccess::Read, LeasePurpose::Inspection, "a test");
    let opened = site.daemon.client().open_device(id, open).await.unwrap();
    let owner = read_marker(opened.file()).unwrap();
    opened.close().await.unwrap();
    owner
}

/// How often the cloud was sent this command.
pub(crate) fn sent(site: &CloudSite, command: &str) -> usize {
    let received = site.cloud.snapshot().received;
    received.iter().filter(|one| one.command == command).count()
}

/// Waits until the cloud has a job that is not over.
pub(crate) async fn job_is_pending(site: &CloudSite) {
    wait_until("a job of the cloud's", PATIENCE, async || {
        let jobs = site.cloud.snapshot().jobs;
        jobs.iter().any(|job| job.is_pending()).then_some(())
    })
    .await;
}

/// Waits until the volume has this condition.
pub(crate) async fn condition(site: &CloudSite, id: VolumeId, kind: ConditionKind) {
    let (what, client) = (format!("the condition {kind:?}"), site.daemon.client());
    wait_until(&what, PATIENCE, async || {
        let conditions = client.volume(id).await.unwrap().conditions;
        conditions.iter().any(|one| one.kind == kind).then_some(())
    })
    .await;
}

/// Detaches the volume and asserts that nothing is left plugged in and that no rule was broken.
pub(crate) async fn ends_well(site: &CloudSite, id: VolumeId) {
    detached(site, id).await.unwrap();
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, []);
    site.assert_well_behaved();
}
