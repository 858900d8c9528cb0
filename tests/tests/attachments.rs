//! Attaching and detaching against the will of somebody: whoever asks twice, asks for another VM, or still uses the device.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use volume_client::client::{ClientError, DEFAULT_WAIT, OpenDevice};
use volume_client::types::{
    AttachVolume, ErrorCode, LeaseAccess, LeasePurpose, OperationStatus, ResizeVolume, VolumeId, VolumeState,
};
use whole_system_tests::{
    Appliance, Holder, Mount, StackedLoop, VM, backing_file, code_of, failed_operation, read_marker, run,
    set_capacity, wait_until, write_marker,
};

const MIB: u64 = 1 << 20;

fn here() -> AttachVolume {
    AttachVolume { vm_id: VM.into() }
}

fn writer() -> OpenDevice {
    OpenDevice::new(LeaseAccess::Write, LeasePurpose::Transfer, "test")
}

/// That a volume is attached as before: state, device, and no other device over its file.
async fn assert_still(appliance: &Appliance, id: VolumeId, path: &str) {
    let client = appliance.client();
    assert_eq!(client.volume(id).await.unwrap().state, VolumeState::InUse);
    assert_eq!(client.volume_device(id).await.unwrap().device_path, path);
    assert_eq!(appliance.loops(), [path]);
}

/// That detaching is refused because the device is busy, and that the refusal names `why`.
async fn assert_busy(appliance: &Appliance, id: VolumeId, path: &str, why: &str) {
    let refused = appliance
        .client()
        .detach_and_wait(id, Duration::from_secs(20))
        .await;
    let operation = failed_operation(refused);
    assert_eq!(
        operation.error_code,
        Some(ErrorCode::DeviceBusy),
        "{operation:#?}"
    );
    let error = operation.error.unwrap();
    assert!(error.contains(path) && error.contains(why), "{error}");
    assert!(operation.error_hint.is_some());
    assert_still(appliance, id, path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attach_is_refused_and_changes_nothing() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("twice", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let before = appliance.client().volume_device(id).await.unwrap();
    let refused = appliance.client().attach_volume(id, &here()).await;
    assert_eq!(code_of(refused), ErrorCode::AlreadyAttached);
    let after = appliance.client().volume_device(id).await.unwrap();
    assert_eq!(
        (after.diskseq, after.generation),
        (before.diskseq, before.generation)
    );
    assert_still(&appliance, id, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_to_another_vm_is_refused_and_changes_nothing() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("elsewhere", 8 * MIB).await.id;
    let elsewhere = AttachVolume {
        vm_id: "appliance-2".into(),
    };
    assert_eq!(
        code_of(appliance.client().attach_volume(id, &elsewhere).await),
        ErrorCode::ForeignVm
    );
    assert_eq!(
        appliance.client().volume(id).await.unwrap().state,
        VolumeState::Available
    );
    assert!(appliance.loops().is_empty());
    // Nor is one that is attached here taken away.
    let path = appliance.attach(id).await.device_path;
    assert_eq!(
        code_of(appliance.client().attach_volume(id, &elsewhere).await),
        ErrorCode::ForeignVm
    );
    assert_still(&appliance, id, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_attached_is_neither_detached_nor_handed_out() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("idle", 8 * MIB).await.id;
    let client = appliance.client();
    assert_eq!(code_of(client.detach_volume(id).await), ErrorCode::NotAttached);
    assert_eq!(code_of(client.volume_device(id).await), ErrorCode::NotAttached);
    assert_eq!(code_of(client.correlate_volume(id).await), ErrorCode::NotAttached);
    assert_eq!(
        code_of(client.open_device(id, writer()).await),
        ErrorCode::NotAttached
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_and_a_detach_name_their_volume_and_their_vm() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("named", 8 * MIB).await.id;
    let client = appliance.client();
    let attach = client.attach_volume(id, &here()).await.unwrap();
    let attach = client.wait_for_completion(attach.id, DEFAULT_WAIT).await.unwrap();
    assert_eq!((attach.volume_id, attach.vm_id.as_deref()), (id, Some(VM)));
    let response = attach.attach_response().unwrap();
    assert!(!response.message.is_empty());
    assert_eq!(
        client.volume_device(id).await.unwrap().device_path,
        response.device_path
    );
    let detach = client.detach_and_wait(id, DEFAULT_WAIT).await.unwrap();
    assert_eq!((detach.volume_id, detach.vm_id.as_deref()), (id, Some(VM)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_volume_is_not_deleted_and_one_that_was_handed_out_only_by_name() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("precious", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let client = appliance.client();
    assert_eq!(
        code_of(client.delete_volume(id, Some("precious")).await),
        ErrorCode::WrongState
    );
    assert_still(&appliance, id, &path).await;
    appliance.detach(id).await;
    assert_eq!(
        code_of(client.delete_volume(id, None).await),
        ErrorCode::ConfirmationRequired
    );
    assert_eq!(
        code_of(client.delete_volume(id, Some("other")).await),
        ErrorCode::ConfirmationRequired
    );
    client
        .delete_and_wait(id, Some("precious"), DEFAULT_WAIT)
        .await
        .unwrap();
    assert_eq!(code_of(client.volume(id).await), ErrorCode::VolumeNotFound);
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_device_is_not_detached() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("mounted", 16 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    run("mkfs.ext4", ["-q", &path]);
    let mount = Mount::ext4(&path, appliance.dir().join("mnt"));
    assert_busy(&appliance, id, &path, "mounted at").await;
    // Nor does the client get it, not even for reading.
    let refused = appliance.client().open_device(id, writer()).await;
    assert!(
        matches!(refused, Err(ClientError::DeviceBusy { .. })),
        "{refused:?}"
    );
    drop(mount);
    appliance.detach(id).await;
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_process_has_open_is_not_detached() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("open", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let mut holder = Holder::of(File::open(&path).unwrap());
    assert_busy(&appliance, id, &path, &format!("pid {}", holder.pid())).await;
    holder.kill();
    appliance.detach(id).await;
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_claimed_exclusively_is_not_detached() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("claimed", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let claim = File::options()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(&path)
        .unwrap();
    let holder = Holder::of(claim);
    assert_busy(&appliance, id, &path, "in use").await;
    let refused = appliance.client().open_device(id, writer()).await;
    assert!(
        matches!(refused, Err(ClientError::DeviceBusy { .. })),
        "{refused:?}"
    );
    drop(holder);
    appliance.detach(id).await;
}

/// A loop device over the volume's device is a user that only the kernel knows: no process has it open.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_another_device_stacked_on_it_is_not_detached() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("stacked", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let stacked = StackedLoop::over(&path);
    assert_busy(&appliance, id, &path, stacked.node().trim_start_matches("/dev/")).await;
    drop(stacked);
    appliance.detach(id).await;
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_size_than_recorded_is_never_handed_out() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("resized", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let file = File::options()
        .write(true)
        .open(backing_file(&path).unwrap())
        .unwrap();
    let client = appliance.client();
    for wrong in [4 * MIB, 16 * MIB, 8 * MIB + 4096] {
        file.set_len(wrong).unwrap();
        set_capacity(&path);
        assert_eq!(
            code_of(client.volume_device(id).await),
            ErrorCode::SizeMismatch,
            "{wrong}"
        );
        assert_eq!(
            code_of(client.open_device(id, writer()).await),
            ErrorCode::SizeMismatch,
            "{wrong}"
        );
        assert_eq!(client.list_leases(&Default::default()).await.unwrap().items, []);
    }
    file.set_len(8 * MIB).unwrap();
    set_capacity(&path);
    assert_still(&appliance, id, &path).await;
    appliance.detach(id).await;
}

/// As above, but the volume was changed while it was detached: the attach itself must find out, and leave nothing.
#[tokio::test(flavor = "multi_thread")]
async fn attaching_a_volume_whose_file_was_truncated_fails_and_leaves_no_device() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("cut", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let backing = backing_file(&path).unwrap();
    appliance.detach(id).await;
    let file = File::options().write(true).open(backing).unwrap();
    file.set_len(4 * MIB).unwrap();
    let refused = appliance
        .client()
        .attach_and_wait(id, &here(), DEFAULT_WAIT)
        .await;
    let operation = failed_operation(refused);
    assert_eq!(
        operation.error_code,
        Some(ErrorCode::SizeMismatch),
        "{operation:#?}"
    );
    assert_eq!(
        appliance.client().volume(id).await.unwrap().state,
        VolumeState::Available
    );
    assert!(appliance.loops().is_empty());
    file.set_len(8 * MIB).unwrap();
    appliance.attach(id).await;
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_bound_anew_behind_the_daemons_back_is_never_handed_out() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("rebound", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let backing = backing_file(&path).unwrap();
    // The daemon's own descriptor keeps the device from being rebound while it runs.
    appliance.kill().await;
    run("losetup", ["-d", &path]);
    let node = run("losetup", ["-f", "--show", backing.to_str().unwrap()]);
    appliance.start().await;
    let client = appliance.client();
    // Never as it was: refused, until somebody binds it anew, be it the reconciler.
    match client.volume_device(id).await {
        Err(ClientError::Problem(problem)) => assert_eq!(problem.code, ErrorCode::DeviceChanged),
        Ok(device) => assert_eq!(device.device_path, node),
        Err(error) => panic!("{error:?}"),
    }
    match client.correlate_and_wait(id, DEFAULT_WAIT).await {
        Ok(found) => assert_eq!(found.device_path, node),
        Err(error) => assert_eq!(error.code(), Some(ErrorCode::OperationInProgress), "{error:?}"),
    }
    wait_until(
        "the device to be bound anew",
        Duration::from_secs(20),
        async || client.volume_device(id).await.ok(),
    )
    .await;
    assert_still(&appliance, id, &node).await;
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_two_devices_is_ambiguous_and_neither_is_handed_out_anew() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("two", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let backing = backing_file(&path).unwrap();
    appliance.kill().await;
    let twin = run("losetup", ["-f", "--show", backing.to_str().unwrap()]);
    appliance.start().await;
    let refused = code_of(appliance.client().volume_device(id).await);
    assert_eq!(refused, ErrorCode::DeviceAmbiguous);
    run("losetup", ["-d", &twin]);
    let client = appliance.client();
    wait_until("the twin to be gone", Duration::from_secs(10), async || {
        client.volume_device(id).await.ok()
    })
    .await;
    assert_still(&appliance, id, &path).await;
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_device_is_the_volumes_own_and_claimed_for_its_holder_alone() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("mine", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let client = appliance.client();
    let opened = client.open_device(id, writer()).await.unwrap();
    assert_eq!(opened.device().device_path, path);
    assert!(opened.known_zero(), "nobody wrote to it yet");
    write_marker(opened.file(), &id.to_string()).unwrap();
    let second = File::options().read(true).custom_flags(libc::O_EXCL).open(&path);
    assert_eq!(second.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    assert_eq!(code_of(client.detach_volume(id).await), ErrorCode::VolumeLeased);
    opened.close().await.unwrap();

    let again = client.open_device(id, writer()).await.unwrap();
    assert!(!again.known_zero(), "somebody may have written to it");
    assert_eq!(read_marker(again.file()).unwrap(), Some(id.to_string()));
    again.close().await.unwrap();
    appliance.detach(id).await;
    // Nor after it was detached and attached again.
    appliance.attach(id).await;
    let third = client.open_device(id, writer()).await.unwrap();
    assert!(!third.known_zero());
    assert_eq!(read_marker(third.file()).unwrap(), Some(id.to_string()));
    third.close().await.unwrap();
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_written_without_a_lease_is_not_known_to_be_zero() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("touched", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    write_marker(&File::options().write(true).open(&path).unwrap(), "a stranger").unwrap();
    let opened = appliance.client().open_device(id, writer()).await.unwrap();
    assert!(!opened.known_zero());
    opened.close().await.unwrap();
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_under_its_device_and_never_shrinks() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("grows", 8 * MIB).await.id;
    appliance.attach(id).await;
    let client = appliance.client();
    let to = |size_bytes| ResizeVolume { size_bytes };
    assert_eq!(
        code_of(client.resize_volume(id, &to(4 * MIB)).await),
        ErrorCode::ShrinkRefused
    );
    client
        .resize_and_wait(id, &to(16 * MIB), DEFAULT_WAIT)
        .await
        .unwrap();
    assert_eq!(client.volume_device(id).await.unwrap().size_bytes, 16 * MIB);
    assert_eq!(
        code_of(client.resize_volume(id, &to(1 << 60)).await),
        ErrorCode::SizeOutOfRange
    );
    assert_eq!(client.volume_device(id).await.unwrap().size_bytes, 16 * MIB);
    appliance.detach(id).await;
}

/// An attach that waits for a device which cannot go on is withdrawn: what it did is undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_attach_is_cancelled_and_undone() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("withdrawn", 8 * MIB).await.id;
    let path = appliance.attach(id).await.device_path;
    let backing = backing_file(&path).unwrap();
    appliance.detach(id).await;
    // Somebody binds the file, unbinds it and keeps the device open: the next attach waits for that device to go.
    let stray = run("losetup", ["-f", "--show", backing.to_str().unwrap()]);
    let mut holder = Holder::of(File::open(&stray).unwrap());
    run("losetup", ["-d", &stray]);
    let attach = client.attach_volume(id, &here()).await.unwrap();
    wait_until("the attach to wait", Duration::from_secs(20), async || {
        let operation = client.operation(attach.id).await.unwrap();
        assert!(!operation.status.is_final(), "{operation:#?}");
        operation.error
    })
    .await;
    assert_eq!(
        code_of(client.detach_volume(id).await),
        ErrorCode::OperationInProgress
    );
    assert!(client.cancel_operation(attach.id).await.unwrap().cancel_requested);
    match client.wait_for_completion(attach.id, DEFAULT_WAIT).await {
        Err(ClientError::OperationCancelled(operation)) => {
            assert_eq!(operation.status, OperationStatus::Cancelled);
        }
        other => panic!("not cancelled: {other:?}"),
    }
    assert_eq!(
        code_of(client.cancel_operation(attach.id).await),
        ErrorCode::NotCancellable
    );
    assert_eq!(client.volume(id).await.unwrap().state, VolumeState::Available);
    holder.kill();
    appliance.attach(id).await;
    appliance.detach(id).await;
    assert!(appliance.loops().is_empty());
}
