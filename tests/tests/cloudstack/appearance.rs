//! Disks that carry no serial: refused, or by setting told by their appearance.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use volume_client::types::ErrorCode;
use whole_system_tests::cloudstack::{Fault, Gate, Hold};
use whole_system_tests::{CloudSite, Disk, Hypervisor, HypervisorError};

use crate::support::{
    GIB, attach_begun, attached, completed, detached, failure, job_is_pending, marked, owner, sent,
};

/// A hypervisor that tells the guest no serials.
struct Mute(Arc<dyn Hypervisor>);

fn without_serial(disk: &Disk) -> Disk {
    Disk {
        serial: String::new(),
        image: disk.image.clone(),
    }
}

#[async_trait]
impl Hypervisor for Mute {
    async fn plug(&self, disk: &Disk) -> Result<(), HypervisorError> {
        self.0.plug(&without_serial(disk)).await
    }

    async fn unplug(&self, disk: &Disk, patience: Duration) -> Result<(), HypervisorError> {
        self.0.unplug(&without_serial(disk), patience).await
    }

    async fn grown(&self, disk: &Disk) -> Result<(), HypervisorError> {
        self.0.grown(&without_serial(disk)).await
    }

    async fn plugged(&self) -> Vec<Disk> {
        self.0.plugged().await
    }
}

/// A site whose disks carry no serials, and a daemon that is told so or not.
struct MuteSite {
    site: CloudSite,
    _turn: File,
}

impl Deref for MuteSite {
    type Target = CloudSite;

    fn deref(&self) -> &CloudSite {
        &self.site
    }
}

impl DerefMut for MuteSite {
    fn deref_mut(&mut self) -> &mut CloudSite {
        &mut self.site
    }
}

/// One at a time: this machine is the guest of them all, and a disk that says nothing could be anybody's.
async fn mute(identity: &str) -> Option<MuteSite> {
    let turn = tokio::task::spawn_blocking(|| {
        // The folder itself is locked, so that nothing is left of it.
        let folder = File::open(std::env::temp_dir()).unwrap();
        folder.lock().unwrap();
        folder
    });
    let turn = turn.await.unwrap();
    let mut site =
        CloudSite::with(|setup| setup.hypervisor = Arc::new(Mute(Arc::clone(&setup.hypervisor)))).await?;
    site.daemon.setup.environment.extend([
        ("VOLUMED_CLOUDSTACK_IDENTITY", identity.to_owned()),
        ("VOLUMED_OPERATIONS_ATTACH_TIMEOUT_SECONDS", "5".to_owned()),
    ]);
    site.daemon.start().await;
    Some(MuteSite { site, _turn: turn })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_serial_is_never_found_by_its_size() {
    let Some(site) = mute("serial").await else { return };
    let id = site.daemon.create("a", GIB).await.id;
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::DeviceMissing, "{failed:?}");
    assert!(failed.hint.contains("serial"), "{failed:?}");
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, []);
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_setting_the_one_disk_that_appears_is_taken_until_it_goes() {
    let Some(mut site) = mute("appearance").await else {
        return;
    };
    let (a, b) = (marked(&site, "a").await, marked(&site, "b").await);
    for id in [a, b] {
        assert_eq!(owner(&site, id).await, Some(id.to_string()));
    }
    // It is told by its plug-in, which a restart of the daemon does not end.
    site.daemon.kill().await;
    site.daemon.start().await;
    assert_eq!(owner(&site, a).await, Some(a.to_string()));
    for id in [a, b] {
        detached(&site, id).await.unwrap();
    }
    for id in [b, a] {
        attached(&site, id).await.unwrap();
        assert_eq!(owner(&site, id).await, Some(id.to_string()));
        detached(&site, id).await.unwrap();
    }
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_appear_are_taken_for_nobodys() {
    let Some(site) = mute("appearance").await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    let gate = Gate::default();
    let slow = Fault::Slow(Hold::Until(gate.clone()));
    site.cloud.faults().next("attachVolume", slow);
    let operation = attach_begun(&site, id).await;
    job_is_pending(&site).await;
    let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
    let foreign = stranger.plug_foreign(vm, "", GIB).await.unwrap();
    gate.open();
    let client = site.daemon.client();
    let patience = Duration::from_secs(30);
    let failed = failure(client.wait_for_completion(operation.id, patience).await);
    assert_eq!(failed.code, ErrorCode::DeviceAmbiguous, "{failed:?}");
    let left = stranger.plugged(vm).await;
    assert_eq!(left.len(), 1, "ours is detached again: {left:?}");
    assert_eq!(left[0].image, foreign.image);
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_attached_before_cannot_be_told_and_is_refused() {
    let Some(site) = mute("appearance").await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
    let (cloud_id, before) = (site.cloud_id(id).await, sent(&site, "attachVolume"));
    stranger.attach(cloud_id, vm).await.unwrap();
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::DeviceUnverifiable, "{failed:?}");
    assert!(failed.hint.contains("detach"), "{failed:?}");
    assert_eq!(sent(&site, "attachVolume"), before);
    stranger.detach(cloud_id).await.unwrap();
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    detached(&site, id).await.unwrap();
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn attaches_go_one_at_a_time() {
    let Some(site) = mute("appearance").await else {
        return;
    };
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(site.daemon.create(name, GIB).await.id);
    }
    let mut operations = Vec::new();
    for id in &ids {
        operations.push(attach_begun(&site, *id).await);
    }
    for operation in &operations {
        completed(&site, operation).await;
    }
    let mut nodes = Vec::new();
    for id in &ids {
        nodes.push(site.daemon.client().volume_device(*id).await.unwrap().device_path);
    }
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    for id in ids {
        detached(&site, id).await.unwrap();
    }
    site.assert_well_behaved();
}
