//! No room left: where the database is, and where the volumes are. Nothing is lost, leaked or half-done.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use volume_client::client::{ClientError, DEFAULT_WAIT};
use volume_client::types::{
    AttachVolume, Cursor, ErrorCode, LeaseAccess, LeasePurpose, NewLease, NewSnapshot, NewVolume,
    OperationStatus, ResizeVolume, VolumeState,
};
use whole_system_tests::{Appliance, Mount, VM, code_of, failed_operation, wait_until};

const MIB: u64 = 1 << 20;

/// Room for a database at work: SQLite lets its log grow to 4 MiB before it begins anew.
const ROOM: u64 = 16 * MIB;

/// A daemon whose database is on a disk of its own with little room; `None`, loudly, where this is not root.
async fn on_a_small_disk() -> Option<(Appliance, Mount)> {
    let mut appliance = Appliance::new()?;
    let mount = Mount::memory(appliance.dir().join("small"), ROOM);
    appliance.setup.database = mount.point().join("v.db");
    appliance.start().await;
    Some((appliance, mount))
}

fn volume(name: &str) -> NewVolume {
    NewVolume {
        name: name.into(),
        size_bytes: MIB,
        source: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_refuses_changes_and_goes_on_reading_until_there_is_room() {
    let Some((mut appliance, mount)) = on_a_small_disk().await else {
        return;
    };
    let client = appliance.client();
    let attached = appliance.create("attached", MIB).await.id;
    let idle = appliance.create("idle", MIB).await.id;
    let path = appliance.attach(attached).await.device_path;

    mount.fill();
    // What SQLite's log has room for is used up first.
    let refused = wait_until("the database to be full", Duration::from_secs(30), async || {
        client.create_volume(&volume("filler")).await.err()
    })
    .await;
    assert_eq!(refused.code(), Some(ErrorCode::StoreFull), "{refused:?}");
    let ClientError::Problem(problem) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(problem.status, 507);
    assert!(problem.hint.is_some_and(|hint| hint.contains("room")));
    let attach = AttachVolume { vm_id: VM.into() };
    assert_eq!(
        code_of(client.attach_volume(idle, &attach).await),
        ErrorCode::StoreFull
    );
    assert_eq!(
        code_of(client.detach_volume(attached).await),
        ErrorCode::StoreFull
    );
    assert_eq!(
        code_of(client.delete_volume(idle, None).await),
        ErrorCode::StoreFull
    );
    let lease = NewLease {
        volume_id: attached,
        purpose: LeasePurpose::Transfer,
        access: LeaseAccess::Write,
        holder: "test".into(),
        detail: None,
        ttl_seconds: None,
    };
    assert_eq!(code_of(client.take_lease(&lease).await), ErrorCode::StoreFull);

    // Reading goes on.
    client.health().await.unwrap();
    assert_eq!(client.volume(idle).await.unwrap().state, VolumeState::Available);
    assert_eq!(client.volume_device(attached).await.unwrap().device_path, path);
    assert!(client.status().await.is_ok() && client.metrics().await.is_ok());
    assert_eq!(appliance.loops(), [path], "nothing is half-attached");

    mount.free();
    let status = client.status().await.unwrap();
    for operation in status.operations {
        let _ = client.wait_for_completion(operation.id, DEFAULT_WAIT).await;
    }
    appliance.create("afterwards", MIB).await;
    appliance.attach(idle).await;
    assert_eq!(appliance.loops().len(), 2);
    for id in [attached, idle] {
        appliance.detach(id).await;
    }
    assert!(appliance.loops().is_empty());
    let volumes = client
        .list_volumes(&Default::default(), &Cursor::default())
        .await
        .unwrap()
        .items;
    assert!(
        volumes.iter().all(|v| v.state == VolumeState::Available),
        "{volumes:#?}"
    );
    assert!(appliance.stop().await.success(), "it never gave up");
}

/// The room ends while operations run: they wait, and end once there is room, whether the daemon lives on or not.
#[tokio::test(flavor = "multi_thread")]
async fn operations_that_meet_a_full_database_end_once_there_is_room() {
    let Some((mut appliance, mount)) = on_a_small_disk().await else {
        return;
    };
    let client = appliance.client();
    let mut volumes = Vec::new();
    for n in 0..4 {
        volumes.push(appliance.create(&format!("disk {n}"), MIB).await.id);
    }
    let attach = AttachVolume { vm_id: VM.into() };
    for round in 0..2 {
        let mut operations = Vec::new();
        for &id in &volumes {
            operations.push(client.attach_volume(id, &attach).await.unwrap().id);
        }
        mount.fill();
        if round == 1 {
            appliance.kill().await;
            mount.free();
            appliance.start().await;
        } else {
            // Full for as long as it takes to be noticed.
            wait_until(
                "a refusal, or the end of all",
                Duration::from_secs(30),
                async || client.create_volume(&volume("filler")).await.err(),
            )
            .await;
            mount.free();
        }
        for operation in operations {
            client.wait_for_completion(operation, DEFAULT_WAIT).await.unwrap();
        }
        assert_eq!(appliance.loops().len(), volumes.len());
        for &id in &volumes {
            appliance.detach(id).await;
        }
        assert!(appliance.loops().is_empty());
    }
}

/// What had begun when the room ended comes to its recorded end in the room that was kept for it, while nothing new is taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_ends_while_the_disk_is_full() {
    let Some((appliance, mount)) = on_a_small_disk().await else {
        return;
    };
    let client = appliance.client();
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(appliance.create(&format!("disk {n}"), MIB).await.id);
    }
    for &id in &ids[..4] {
        appliance.attach(id).await;
    }
    // Of every kind one, as far as a volume's state allows it.
    let new = |name: &str| NewSnapshot { name: name.into() };
    client
        .create_snapshot_and_wait(ids[6], &new("kept"), DEFAULT_WAIT)
        .await
        .unwrap();
    let kept = client
        .list_snapshots(ids[6], &Cursor::default())
        .await
        .unwrap()
        .items
        .remove(0);
    let attach = AttachVolume { vm_id: VM.into() };
    let larger = ResizeVolume { size_bytes: 2 * MIB };
    let begun = [
        client.detach_volume(ids[0]).await.unwrap(),
        client.correlate_volume(ids[1]).await.unwrap(),
        client.resize_volume(ids[2], &larger).await.unwrap(),
        client.attach_volume(ids[4], &attach).await.unwrap(),
        client.delete_volume(ids[5], Some("disk 5")).await.unwrap(),
        client.revert_snapshot(ids[6], kept.id).await.unwrap(),
        client.create_snapshot(ids[7], &new("late")).await.unwrap(),
        client.create_volume(&volume("late")).await.unwrap(),
    ];
    mount.fill();
    for operation in &begun {
        let ended = client
            .wait_for_completion(operation.id, DEFAULT_WAIT)
            .await
            .unwrap();
        assert_eq!(ended.status, OperationStatus::Completed, "{ended:#?}");
    }
    wait_until("the database to be full", Duration::from_secs(30), async || {
        client.create_volume(&volume("filler")).await.err()
    })
    .await;
    let taken = client
        .list_volumes(&Default::default(), &Cursor::default())
        .await
        .unwrap()
        .items
        .len();
    let readiness = client.readiness().await.unwrap();
    assert!(!readiness.ready, "it takes nothing: {readiness:#?}");
    assert_eq!(
        [
            code_of(client.create_volume(&volume("x")).await),
            code_of(client.attach_volume(ids[0], &attach).await),
            code_of(client.detach_volume(ids[1]).await),
            code_of(client.correlate_volume(ids[1]).await),
            code_of(client.resize_volume(ids[3], &larger).await),
            code_of(client.delete_volume(ids[0], Some("disk 0")).await),
            code_of(client.create_snapshot(ids[0], &new("x")).await),
            code_of(client.revert_snapshot(ids[6], kept.id).await),
            code_of(client.delete_snapshot(ids[6], kept.id).await),
        ],
        [ErrorCode::StoreFull; 9]
    );
    assert_eq!(
        client
            .list_volumes(&Default::default(), &Cursor::default())
            .await
            .unwrap()
            .items
            .len(),
        taken,
        "something was half-recorded"
    );
    mount.free();
    wait_until("work to be taken again", Duration::from_secs(30), async || {
        client.readiness().await.unwrap().ready.then_some(())
    })
    .await;
    appliance.create("afterwards", MIB).await;
    for id in [ids[1], ids[2], ids[3], ids[4]] {
        appliance.detach(id).await;
    }
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_without_room_fail_clearly_and_leave_nothing() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let mount = Mount::memory(appliance.dir().join("small"), MIB);
    appliance.setup.local_root = mount.point().join("cloud");
    appliance.start().await;
    let client = appliance.client();
    let kept = appliance.create("kept", MIB).await.id;
    let files = || walk(mount.point());
    mount.fill();
    let before = files();
    let failed = failed_operation(
        client
            .create_volume_and_wait(&volume("too much"), DEFAULT_WAIT)
            .await,
    );
    assert_eq!(failed.error_code, Some(ErrorCode::NoSpace), "{failed:#?}");
    assert_eq!(
        code_of(client.volume(failed.volume_id).await),
        ErrorCode::VolumeNotFound
    );
    assert_eq!(files(), before, "something is left of it");
    mount.free();
    appliance.create("fits again", MIB).await;
    appliance.attach(kept).await;
    appliance.detach(kept).await;
    assert!(appliance.loops().is_empty());
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}
