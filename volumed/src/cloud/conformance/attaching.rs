//! Properties of attaching, detaching and resizing, as the guest's kernel sees them.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::{Rig, assert_kind, both, wait_until};
use crate::model::Bytes;

/// The device that appears has the identity that the provider tells, and the volume's size.
pub async fn attach_plugs_in_exactly_that_volume(rig: Rig) {
    let volume = rig.created(3).await;
    let vm = rig.cloud.own_vm().await.expect("knowing the own VM");
    let device = rig.attach(&volume).await;
    let now = rig.now(&volume).await;
    assert_eq!(now.attached_to.as_deref(), Some(vm.as_str()));
    assert_eq!(rig.guest.size(&device), volume.size);
    rig.detach(&volume).await;
    assert_eq!(rig.now(&volume).await.attached_to, None);
    rig.scrap(&volume).await;
}

/// The same again, by the same call or another, changes nothing.
pub async fn attach_and_detach_repeated_change_nothing(rig: Rig) {
    let volume = rig.created(1).await;
    let vm = rig.cloud.own_vm().await.expect("knowing the own VM");
    let (id, call) = (&volume.provider_ref, rig.call());
    rig.cloud
        .attach(&call, id, &vm)
        .await
        .expect("attaching a volume");
    let device = rig.device(&volume).await;
    for call in [call, rig.call()] {
        rig.cloud
            .attach(&call, id, &vm)
            .await
            .expect("repeating an attach");
        assert_eq!(rig.device(&volume).await, device);
    }
    let call = rig.call();
    for call in [call.clone(), call, rig.call()] {
        rig.cloud
            .detach(&call, id, &vm)
            .await
            .expect("repeating a detach");
        assert_eq!(rig.now(&volume).await.attached_to, None);
    }
    rig.scrap(&volume).await;
}

/// Attaches of one volume that pass each other bind one device.
pub async fn attaches_of_one_volume_at_once_plug_in_one_device(rig: Rig) {
    let volume = rig.created(1).await;
    let vm = rig.cloud.own_vm().await.expect("knowing the own VM");
    let (one, two) = (rig.call(), rig.call());
    let id = &volume.provider_ref;
    let (a, b) = both(rig.cloud.attach(&one, id, &vm), rig.cloud.attach(&two, id, &vm)).await;
    a.expect("attaching at once");
    b.expect("attaching at once");
    rig.device(&volume).await;
    rig.scrap(&volume).await;
}

/// Eight volumes, attached at once: eight devices, each with the bytes of its own volume after another round.
pub async fn volumes_attached_at_once_get_devices_of_their_own(rig: Rig) {
    let volumes = join_all((1..=8).map(|mib| rig.created(mib))).await;
    let devices = join_all(volumes.iter().map(|volume| rig.attach(volume))).await;
    assert_eq!(devices.iter().collect::<HashSet<_>>().len(), 8, "{devices:?}");
    for ((volume, device), fill) in volumes.iter().zip(&devices).zip(1..) {
        assert_eq!(rig.guest.size(device), volume.size);
        rig.guest.write(device, 0, fill);
    }
    join_all(volumes.iter().map(|volume| rig.detach(volume))).await;
    let devices = join_all(volumes.iter().map(|volume| rig.attach(volume))).await;
    for (device, fill) in devices.iter().zip(1..) {
        assert_eq!(rig.guest.read(device, 0), [fill; 4096]);
    }
    join_all(volumes.iter().map(|volume| rig.scrap(volume))).await;
}

/// A VM that cannot have the volume does not get it, and a detach meant for another VM does not take it from ours.
pub async fn another_vm_gets_nothing_and_takes_nothing(rig: Rig) {
    let volume = rig.created(1).await;
    let (id, other) = (&volume.provider_ref, uuid::Uuid::new_v4().to_string());
    let no_such_vm = &["refused", "not_found"];
    assert_kind(
        rig.cloud.attach(&rig.call(), id, &other).await,
        no_such_vm,
        "attach to an unknown VM",
    );
    assert_eq!(rig.now(&volume).await.attached_to, None);
    rig.cloud
        .detach(&rig.call(), id, &other)
        .await
        .expect("detaching what is not attached");
    let device = rig.attach(&volume).await;
    let answer = rig.cloud.attach(&rig.call(), id, &other).await;
    assert_kind(
        answer,
        &["refused", "not_found", "attached_elsewhere"],
        "attach elsewhere",
    );
    let answer = rig.cloud.detach(&rig.call(), id, &other).await;
    assert_kind(
        answer,
        &["attached_elsewhere"],
        "detach from a VM that does not have it",
    );
    assert_eq!(rig.device(&volume).await, device);
    rig.scrap(&volume).await;
}

/// What was written to one device of a volume is on the next.
pub async fn content_survives_a_move_to_another_device(rig: Rig) {
    let (volume, other) = (rig.created(2).await, rig.created(2).await);
    let device = rig.attach(&volume).await;
    let last = volume.size.0 - 4096;
    rig.guest.write(&device, 0, 1);
    rig.guest.write(&device, last, 2);
    rig.detach(&volume).await;
    // Likely takes the name that has become free.
    let elsewhere = rig.attach(&other).await;
    let device = rig.attach(&volume).await;
    assert_ne!(device, elsewhere);
    assert_eq!(
        (rig.guest.read(&device, 0), rig.guest.read(&device, last)),
        ([1; 4096], [2; 4096])
    );
    rig.scrap(&other).await;
    rig.scrap(&volume).await;
}

/// The kernel's device grows with its volume, in place, and keeps what is on it.
pub async fn resize_is_seen_by_the_device(rig: Rig) {
    let volume = rig.created(1).await;
    let larger = Bytes(volume.size.0 * 3);
    let device = rig.attach(&volume).await;
    rig.guest.write(&device, 0, 7);
    rig.cloud
        .resize(&rig.call(), &volume.provider_ref, larger)
        .await
        .expect("growing an attached volume");
    wait_until("the device has grown", || rig.guest.size(&device) == larger).await;
    assert_eq!(rig.now(&volume).await.size, larger);
    assert_eq!(rig.device(&volume).await, device);
    rig.guest.write(&device, larger.0 - 4096, 8);
    assert_eq!(rig.guest.read(&device, 0), [7; 4096]);
    rig.scrap(&volume).await;
}

/// A resize to the present size succeeds; to less is refused and does nothing.
pub async fn resize_repeated_succeeds_and_shrinking_is_refused(rig: Rig) {
    let volume = rig.created(2).await;
    let (id, size) = (&volume.provider_ref, Bytes(volume.size.0 * 2));
    let call = rig.call();
    for _ in 0..2 {
        rig.cloud.resize(&call, id, size).await.expect("growing a volume");
        assert_eq!(rig.now(&volume).await.size, size);
    }
    let answer = rig.cloud.resize(&rig.call(), id, volume.size).await;
    assert_kind(answer, &["refused"], "shrinking");
    assert_eq!(rig.now(&volume).await.size, size);
    rig.scrap(&volume).await;
}

/// Growth of a detached volume shows at its next attach.
pub async fn a_detached_volume_can_be_resized(rig: Rig) {
    let volume = rig.created(1).await;
    let size = Bytes(volume.size.0 * 2);
    rig.cloud
        .resize(&rig.call(), &volume.provider_ref, size)
        .await
        .expect("growing a volume");
    assert_eq!(rig.guest.size(&rig.attach(&volume).await), size);
    rig.scrap(&volume).await;
}

/// Where the provider promises zeros, fresh and added space holds nothing else.
pub async fn fresh_space_reads_as_promised(rig: Rig) {
    if !rig.cloud.capabilities().fresh_volumes_read_zero {
        return;
    }
    let volume = rig.created(1).await;
    let size = Bytes(volume.size.0 * 2);
    rig.cloud
        .resize(&rig.call(), &volume.provider_ref, size)
        .await
        .expect("growing a volume");
    let device = rig.attach(&volume).await;
    for offset in (0..size.0).step_by(4096) {
        assert_eq!(rig.guest.read(&device, offset), [0; 4096], "at {offset}");
    }
    rig.scrap(&volume).await;
}
