//! Disks that carry no serial: refused, or by setting told by their appearance.

use volume_client::types::ErrorCode;
use whole_system_tests::CloudSite;

use crate::support::{GIB, attached, failure};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_serial_is_never_found_by_its_size() {
    let Some(mut site) = CloudSite::new().await else {
        return;
    };
    site.daemon
        .setup
        .environment
        .push(("VOLUMED_OPERATIONS_ATTACH_TIMEOUT_SECONDS", "3".to_owned()));
    site.daemon.start().await;
    let id = site.daemon.create("a", GIB).await.id;
    let foreign = site
        .cloud
        .stranger()
        .plug_foreign(site.cloud.vm_id(), "", GIB)
        .await
        .unwrap();
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::DeviceMissing, "{failed:?}");
    assert!(failed.hint.contains("serial"));
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, [foreign]);
    site.assert_well_behaved();
}
