//! What is told of machines, odd ones and many.

use std::time::Duration;

use migrate_engine::source::vsphere::{Firmware, Query, VsphereError};

use super::site::{MODELS, Site, by_name, everything, with};

#[tokio::test]
async fn machines_of_both_models_are_told_whole() {
    for model in MODELS {
        let site = Site::start(&with(model, &["-disks", "2"]));
        let session = site.login().await;
        assert_eq!(session.about().is_vcenter, model.is_empty());
        let found = session.discover(&everything()).await.unwrap();
        assert_eq!(found.machines.len(), if model.is_empty() { 4 } else { 2 });
        for machine in &found.machines {
            let datacenter = machine.datacenter_path.as_deref().unwrap();
            assert_eq!(machine.path, format!("/{datacenter}/vm/{}", machine.name));
            assert!(machine.host.is_some() && machine.power_state.is_some());
            let config = machine.config().unwrap();
            assert!(config.num_cpu > 0 && config.memory_mb > 0, "{config:?}");
            assert!(config.vmx_version.is_some() && config.guest_os.is_some());
            assert_eq!(config.firmware, Firmware::Bios);
            let disks = machine.copyable_disks().unwrap();
            assert_eq!(disks.len(), 2);
            assert_eq!(
                (disks[0].key, disks[0].id.as_str(), disks[0].capacity_bytes),
                (2000, "disk-2000", Some(64 << 20))
            );
            assert!(
                disks[0].uuid.is_some() && disks[0].datastore.is_some(),
                "{disks:?}"
            );
            let card = &config.networks[0];
            assert!(
                card.mac_address.is_some() && card.network_name.is_some(),
                "{card:?}"
            );
        }
        session.logout().await.unwrap();
    }
}

#[tokio::test]
async fn odd_machines_are_told_by_what_is_odd() {
    for model in MODELS {
        let site = Site::start(&with(model, &["-odd"]));
        let session = site.login().await;
        let found = session.discover(&everything()).await.unwrap();
        let machine = |name: &str| found.machine(name).unwrap();
        let refusal = |name: &str| machine(name).copyable_disks().unwrap_err().to_string();
        assert!(refusal("odd-no-config").contains("inaccessible"));
        assert!(refusal("odd-independent").contains("independent"));
        assert!(
            refusal("odd-raw").contains("raw device"),
            "{}",
            refusal("odd-raw")
        );
        assert!(refusal("odd-diskless").contains("no disk"));
        let snapshot = machine("odd-snapshot");
        assert_eq!(snapshot.all_snapshots()[0].name, "before the update");
        assert!(matches!(
            session.enable_change_tracking(snapshot).await,
            Err(VsphereError::SnapshotsInTheWay { .. })
        ));
        assert!(matches!(
            session.enable_change_tracking(machine("odd-independent")).await,
            Err(VsphereError::Disk { .. })
        ));
        assert!(machine("odd-template").config().unwrap().is_template);
        machine("odd näme & <co>").copyable_disks().unwrap();
        if model.is_empty() {
            assert!(matches!(
                found.machine("odd-twin"),
                Err(VsphereError::MachineAmbiguous { .. })
            ));
            let twin = found.machine("/DC0/vm/left/odd-twin").unwrap();
            let alone = session.discover(&by_name(&twin.id)).await.unwrap();
            assert_eq!(alone.machines.len(), 1);
            let card = &machine("odd-distributed").config().unwrap().networks[0];
            assert_eq!(card.network_type, "distributed");
            assert!(card.network_name.as_ref().unwrap().contains("DVPG0"), "{card:?}");
        }
        let named = session.discover(&by_name("odd näme & <co>")).await.unwrap();
        assert_eq!(named.machines.len(), 1);
        assert!(
            session
                .discover(&by_name("nobody"))
                .await
                .unwrap()
                .machines
                .is_empty()
        );
        let elsewhere = Query {
            datacenter: Some("DC9".to_owned()),
            machine: None,
        };
        let error = session.discover(&elsewhere).await.unwrap_err();
        assert!(
            matches!(error, VsphereError::DatacenterNotFound { .. }),
            "{error:?}"
        );
    }
}

/// Callers of a discovery give up after 15 seconds (SPEC B1).
#[tokio::test]
async fn five_thousand_machines_are_told_before_callers_give_up() {
    let site = Site::start(&["-vms", "2500"]);
    let session = site.login().await;
    let query = everything();
    let found = tokio::time::timeout(Duration::from_secs(15), session.discover(&query)).await;
    assert_eq!(found.unwrap().unwrap().machines.len(), 5000);
}
