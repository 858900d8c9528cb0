//! Operations from admission to the kernel and back, on real loop devices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Seek, SeekFrom, Write};

use support::{Place, attach};
use volumed::model::{
    ErrorCode, LeaseAccess, LeasePurpose, OperationStatus, Request, SnapshotId, VolumeState,
};
use volumed::operation::{NewLease, OperationError};
use volumed::store::Asker;

const MIB: u64 = 1 << 20;

fn refused<T: std::fmt::Debug>(result: Result<T, OperationError>) -> ErrorCode {
    match result {
        Err(OperationError::Refused { failure, .. }) => failure.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_lives_from_create_to_delete() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("web-01", 16 * MIB).await;
    let path = run.attach(id).await;
    let device = run.operations.device(id).await.unwrap();
    assert_eq!(device.observed.device_path, path);
    assert_eq!(device.observed.size.0, 16 * MIB);
    assert!(run.operations.is_pinned(id));
    assert_eq!(
        refused(run.submit(Some(id), attach()).await),
        ErrorCode::AlreadyAttached
    );
    let elsewhere = Request::Attach {
        vm_id: "other".into(),
    };
    assert_eq!(
        refused(run.submit(Some(id), elsewhere).await),
        ErrorCode::ForeignVm
    );

    run.done(Some(id), Request::Resize { size_bytes: 32 * MIB }).await;
    assert_eq!(run.operations.device(id).await.unwrap().observed.size.0, 32 * MIB);

    run.done(Some(id), Request::Detach {}).await;
    assert_eq!(run.volume(id).await.state, VolumeState::Available);
    assert!(!run.operations.is_pinned(id));
    assert_eq!(refused(run.operations.device(id).await), ErrorCode::NotAttached);
    let backing = std::fs::read_to_string(path.replace("/dev/", "/sys/block/") + "/loop/backing_file");
    assert!(
        !backing
            .unwrap_or_default()
            .contains(place.dir.path().to_str().unwrap()),
        "{path} is still attached"
    );

    let unconfirmed = run.submit(Some(id), Request::Delete { confirm_name: None }).await;
    assert_eq!(refused(unconfirmed), ErrorCode::ConfirmationRequired);
    run.done(
        Some(id),
        Request::Delete {
            confirm_name: Some("web-01".into()),
        },
    )
    .await;
    assert_eq!(run.volume(id).await.state, VolumeState::Deleted);
    assert!(place.cloud.volumes().await.unwrap().is_empty());
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_the_old_content_back() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("data", 4 * MIB).await;
    let write = async |text: &[u8; 8]| {
        let path = run.attach(id).await;
        let mut device = std::fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let mut before = [0; 8];
        device.read_exact(&mut before).unwrap();
        device.seek(SeekFrom::Start(0)).unwrap();
        device.write_all(text).unwrap();
        drop(device);
        run.done(Some(id), Request::Detach {}).await;
        before
    };
    write(b"original").await;
    let snapshot_id = SnapshotId::new();
    run.done(
        Some(id),
        Request::SnapshotCreate {
            snapshot_id,
            name: "before".into(),
        },
    )
    .await;
    assert_eq!(&write(b"changed!").await, b"original");
    run.done(Some(id), Request::SnapshotRevert { snapshot_id }).await;
    assert_eq!(&write(b"again...").await, b"original");
    let confirm_name = Some("data".to_owned());
    let delete = Request::Delete { confirm_name };
    assert_eq!(
        refused(run.submit(Some(id), delete.clone()).await),
        ErrorCode::HasSnapshots
    );
    run.done(Some(id), Request::SnapshotDelete { snapshot_id }).await;
    run.done(Some(id), delete).await;
    run.stop().await;
}

fn lease(volume_id: volumed::model::VolumeId, access: LeaseAccess) -> NewLease {
    let (purpose, holder) = (LeasePurpose::Transfer, "test".to_owned());
    NewLease {
        volume_id,
        purpose,
        access,
        holder,
        detail: None,
        ttl_seconds: 60,
    }
}

fn asker() -> Asker {
    Asker {
        actor: "test".into(),
        request_id: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_volume_is_known_zero_until_somebody_writes() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let take = async |id, access| {
        run.operations
            .acquire_lease(lease(id, access), asker(), None)
            .await
    };

    // Nobody wrote: known zero for the first writer, and for nobody after it.
    let fresh = run.create("fresh", 4 * MIB).await;
    run.attach(fresh).await;
    let (first, _) = take(fresh, LeaseAccess::Write).await.unwrap();
    assert!(first.known_zero);
    assert_eq!(
        refused(take(fresh, LeaseAccess::Write).await),
        ErrorCode::VolumeLeased
    );
    let (reader, _) = take(fresh, LeaseAccess::Read).await.unwrap();
    assert!(!reader.known_zero);

    // Somebody wrote without a lease: the kernel's own counter tells.
    let touched = run.create("touched", 4 * MIB).await;
    let path = run.attach(touched).await;
    let mut device = std::fs::File::options().write(true).open(path).unwrap();
    device.write_all(&[7; 4096]).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let (second, _) = take(touched, LeaseAccess::Write).await.unwrap();
    assert!(!second.known_zero);

    assert_eq!(
        refused(run.submit(Some(fresh), Request::Detach {}).await),
        ErrorCode::VolumeLeased
    );
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_open_or_mounted_is_not_detached() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("busy", 16 * MIB).await;
    let path = run.attach(id).await;
    assert!(
        std::process::Command::new("mkfs.ext4")
            .args(["-q", &path])
            .status()
            .unwrap()
            .success()
    );
    let mount_point = place.dir.path().join("mnt");
    std::fs::create_dir(&mount_point).unwrap();
    let mount = std::process::Command::new("mount")
        .arg(&path)
        .arg(&mount_point)
        .status()
        .unwrap();
    assert!(mount.success());
    let refused = run.run(Some(id), Request::Detach {}).await;
    let unmounted = std::process::Command::new("umount")
        .arg(&mount_point)
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert_eq!(refused.status, OperationStatus::Failed);
    let failure = refused.failure.unwrap();
    assert_eq!(failure.code, ErrorCode::DeviceBusy);
    assert!(failure.message.contains("mounted at"), "{failure:?}");
    // What could not be detached is as it was.
    assert_eq!(
        run.operations.device(id).await.unwrap().observed.device_path,
        path
    );
    run.done(Some(id), Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_holds_the_same_device_again() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("kept", 4 * MIB).await;
    let path = run.attach(id).await;
    run.stop().await;
    let run = place.start().await;
    assert!(run.operations.is_pinned(id));
    assert_eq!(
        run.operations.device(id).await.unwrap().observed.device_path,
        path
    );
    run.done(Some(id), Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_swapped_behind_our_back_is_refused_and_bound_anew() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("swapped", 4 * MIB).await;
    let path = run.attach(id).await;
    run.stop().await;
    // While the daemon is away somebody detaches the loop device and attaches the file again.
    let backing =
        std::fs::read_to_string(path.replace("/dev/", "/sys/block/") + "/loop/backing_file").unwrap();
    assert!(
        std::process::Command::new("losetup")
            .args(["-d", &path])
            .status()
            .unwrap()
            .success()
    );
    // Another process that lists disks may hold it open for a moment, and it goes when the last one closes it.
    let file = std::path::Path::new("/sys/block")
        .join(path.trim_start_matches("/dev/"))
        .join("loop/backing_file");
    let gone = async {
        while std::fs::read_to_string(&file).is_ok_and(|now| now == backing) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap();
    let again = std::process::Command::new("losetup")
        .args(["-f", "--show", backing.trim()])
        .output()
        .unwrap();
    let node = String::from_utf8(again.stdout).unwrap().trim().to_owned();

    let run = place.start().await;
    assert_eq!(refused(run.operations.device(id).await), ErrorCode::DeviceChanged);
    assert!(!run.operations.conditions(id).is_empty());
    let op = run.done(Some(id), Request::Correlate {}).await;
    assert_eq!(op.response.unwrap()["device_path"], node);
    assert_eq!(
        run.operations.device(id).await.unwrap().observed.device_path,
        node
    );
    run.done(Some(id), Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_volumes_attach_and_detach_at_once() {
    let Some(place) = Place::new() else { return };
    let run = std::sync::Arc::new(place.start().await);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8_u64 {
        let run = std::sync::Arc::clone(&run);
        tasks.spawn(async move {
            let id = run.create(&format!("disk-{n}"), (n + 1) * MIB).await;
            for _ in 0..3 {
                let path = run.attach(id).await;
                let seen = run.operations.device(id).await.unwrap();
                assert_eq!(
                    (seen.observed.device_path, seen.observed.size.0),
                    (path, (n + 1) * MIB)
                );
                run.done(Some(id), Request::Detach {}).await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    std::sync::Arc::into_inner(run).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_in_the_page_cache_is_not_taken_for_zeroes() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("dirty", 4 * MIB).await;
    let path = run.attach(id).await;
    // Written and closed, not synced: the daemon's own descriptor keeps the pages from being written out.
    let mut device = std::fs::File::options().write(true).open(path).unwrap();
    device.write_all(&[7; 4096]).unwrap();
    drop(device);
    let (taken, _) = run
        .operations
        .acquire_lease(lease(id, LeaseAccess::Write), asker(), None)
        .await
        .unwrap();
    assert!(!taken.known_zero);
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_else_attached_is_not_taken_for_zeroes() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("taken-over", 4 * MIB).await;
    let provider_ref = run.volume(id).await.provider_ref.unwrap();
    let call = volumed::cloud::Call {
        id: "0190a1b2-0000-4000-8000-000000000001".into(),
    };
    place
        .cloud
        .attach(&call, &provider_ref, support::VM)
        .await
        .unwrap();
    run.attach(id).await;
    let (taken, _) = run
        .operations
        .acquire_lease(lease(id, LeaseAccess::Write), asker(), None)
        .await
        .unwrap();
    assert!(!taken.known_zero);
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_could_not_be_held_again_is_not_detached_while_it_is_open() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("unheld", 4 * MIB).await;
    let path = run.attach(id).await;
    run.stop().await;
    // Grown behind the daemon's back: at the next start it does not fit its record, and is not held.
    let backing =
        std::fs::read_to_string(path.replace("/dev/", "/sys/block/") + "/loop/backing_file").unwrap();
    let file = std::fs::File::options().write(true).open(backing.trim()).unwrap();
    file.set_len(8 * MIB).unwrap();
    let told = std::process::Command::new("losetup")
        .args(["-c", &path])
        .status()
        .unwrap();
    assert!(told.success());
    let run = place.start().await;
    assert!(!run.operations.is_pinned(id));
    let mut holder = std::process::Command::new("sleep")
        .arg("60")
        .stdin(std::fs::File::open(&path).unwrap())
        .spawn()
        .unwrap();
    let refused = run.run(Some(id), Request::Detach {}).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(refused.failure.map(|f| f.code), Some(ErrorCode::DeviceBusy));
    run.done(Some(id), Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_the_cloud_lost_can_be_detached_and_deleted() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("lost", 4 * MIB).await;
    let path = run.attach(id).await;
    let backing =
        std::fs::read_to_string(path.replace("/dev/", "/sys/block/") + "/loop/backing_file").unwrap();
    let gone = std::path::Path::new(backing.trim()).parent().unwrap();
    std::fs::remove_dir_all(gone).unwrap();
    assert!(
        std::process::Command::new("losetup")
            .args(["-d", &path])
            .status()
            .unwrap()
            .success()
    );
    run.done(Some(id), Request::Detach {}).await;
    let confirm_name = Some("lost".to_owned());
    run.done(Some(id), Request::Delete { confirm_name }).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_in_the_way_fails_an_attach_instead_of_stopping_it_for_ever() {
    let Some(place) = Place::new() else { return };
    let settings = volumed::operation::Settings {
        cloud_patience: std::time::Duration::from_secs(2),
        ..Default::default()
    };
    let run = place
        .start_with(std::sync::Arc::clone(&place.cloud), settings)
        .await;
    let (holder, id) = (
        run.create("holder", MIB).await,
        run.create("newcomer", 2 * MIB).await,
    );
    run.attach(holder).await;
    // The record of another volume claims the very identity that the newcomer's device will have.
    let identity = run.volume(id).await.identity.unwrap().to_string();
    let conn = rusqlite::Connection::open(place.dir.path().join("volumed.db")).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    conn.execute(
        "UPDATE mappings SET identity = ?1 WHERE volume_id = ?2",
        [identity, holder.to_string()],
    )
    .unwrap();
    let ended = run.run(Some(id), attach()).await;
    assert_eq!(
        ended.failure.map(|f| f.code),
        Some(ErrorCode::WrongState),
        "it ends"
    );
    assert_eq!(run.volume(id).await.state, VolumeState::Available);
    let refs = run.volume(id).await.provider_ref.unwrap();
    assert_eq!(
        place.cloud.volume(&refs).await.unwrap().unwrap().attached_to,
        None
    );
    run.stop().await;
}
