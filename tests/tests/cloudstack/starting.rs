//! How the daemon comes up on CloudStack, and what it says where it cannot.

use std::os::unix::fs::PermissionsExt;

use whole_system_tests::{CloudSite, write_credentials};

use crate::support::{attached, ends_well, marked, owner};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_said_and_never_shown() {
    let Some(mut site) = CloudSite::new().await else {
        return;
    };
    let file = site.daemon.dir().join("other-credentials");
    let secret = "a-secret-that-nobody-may-read-in-a-log";
    write_credentials(&file, &site.cloud.api_key(), secret);
    let key = "VOLUMED_CLOUDSTACK_CREDENTIALS_FILE";
    let environment = &mut site.daemon.setup.environment;
    environment.retain(|(name, _)| *name != key);
    environment.push((key, file.display().to_string()));
    let (status, log) = site.daemon.start_in_vain().await;
    assert!(!status.success());
    assert!(log.contains("credentials") || log.contains("secret key"), "{log}");
    assert!(!log.contains(secret), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_others_may_read_are_refused() {
    let Some(mut site) = CloudSite::new().await else {
        return;
    };
    let file = site.daemon.dir().join("credentials.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, log) = site.daemon.start_in_vain().await;
    assert!(!status.success());
    assert!(log.contains("chmod"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_or_an_offering_that_is_not_there_is_named_beside_those_that_are() {
    let Some(mut site) = CloudSite::new().await else {
        return;
    };
    let before = site.daemon.setup.environment.clone();
    for key in ["VOLUMED_CLOUDSTACK_ZONE", "VOLUMED_CLOUDSTACK_DISK_OFFERING"] {
        let environment = &mut site.daemon.setup.environment;
        environment.retain(|(name, _)| *name != key);
        environment.push((key, "nowhere".to_owned()));
        let (status, log) = site.daemon.start_in_vain().await;
        assert!(!status.success());
        assert!(log.contains("nowhere"), "{log}");
        site.daemon.setup.environment.clone_from(&before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_every_volume_and_its_device_again() {
    let Some(mut site) = CloudSite::started().await else {
        return;
    };
    let (a, b) = (marked(&site, "a").await, marked(&site, "b").await);
    site.daemon.kill().await;
    site.daemon.start().await;
    for id in [a, b] {
        assert_eq!(owner(&site, id).await, Some(id.to_string()));
        assert!(attached(&site, id).await.is_err(), "it is attached");
        ends_well_beside(&site, id).await;
    }
    site.assert_well_behaved();
}

async fn ends_well_beside(site: &CloudSite, id: volume_client::types::VolumeId) {
    crate::support::detached(site, id).await.unwrap();
    assert_eq!(site.node(id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_a_cloud_that_comes_up_after_it() {
    let Some(mut site) = CloudSite::new().await else {
        return;
    };
    for _ in 0..3 {
        let command = "listCapabilities";
        site.cloud
            .faults()
            .next(command, whole_system_tests::cloudstack::Fault::LoseRequest);
    }
    site.daemon.start().await;
    let id = marked(&site, "a").await;
    ends_well(&site, id).await;
}
