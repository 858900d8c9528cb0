//! Properties of snapshots.

use super::{Rig, assert_kind};
use crate::model::Bytes;

/// A snapshot of a name is taken once; repeating it does not take the content of now.
pub async fn snapshot_repeated_is_the_first_one(rig: Rig) {
    let (volume, call) = (rig.stored(1).await, rig.call());
    let id = &volume.provider_ref;
    rig.guest.write(&rig.attach(&volume).await, 0, 1);
    rig.detach(&volume).await;
    let first = rig
        .cloud
        .create_snapshot(&call, id, "before")
        .await
        .expect("taking a snapshot");
    assert_eq!(
        (first.name.as_str(), first.size, first.ready),
        ("before", volume.size, true)
    );
    rig.guest.write(&rig.attach(&volume).await, 0, 2);
    rig.detach(&volume).await;
    for call in [call, rig.call()] {
        let again = rig
            .cloud
            .create_snapshot(&call, id, "before")
            .await
            .expect("repeating a snapshot");
        assert_eq!(again, first);
    }
    let second = rig
        .cloud
        .create_snapshot(&rig.call(), id, "after")
        .await
        .expect("taking a snapshot");
    let mut all = rig.snapshots(id).await;
    all.sort_by(|a, b| b.name.cmp(&a.name));
    assert_eq!(all, [first.clone(), second.clone()]);

    rig.cloud
        .revert_to_snapshot(&rig.call(), id, &first.snapshot_ref)
        .await
        .expect("reverting");
    assert_eq!(rig.guest.read(&rig.attach(&volume).await, 0), [1; 4096]);
    rig.detach(&volume).await;
    let call = rig.call();
    for _ in 0..2 {
        rig.cloud
            .delete_snapshot(&call, id, &first.snapshot_ref)
            .await
            .expect("deleting a snapshot");
        assert_eq!(rig.snapshots(id).await, std::slice::from_ref(&second));
    }
    assert_kind(
        rig.cloud
            .revert_to_snapshot(&rig.call(), id, &first.snapshot_ref)
            .await,
        &["not_found"],
        "reverting to a deleted snapshot",
    );
    rig.scrap(&volume).await;
}

/// A revert brings back every byte and the size, may be repeated, and leaves the snapshot as it was.
pub async fn revert_brings_content_and_size_back(rig: Rig) {
    let volume = rig.stored(4).await;
    let (id, last) = (&volume.provider_ref, volume.size.0 - 4096);
    let device = rig.attach(&volume).await;
    rig.guest.write(&device, 8192, 1);
    rig.guest.write(&device, last, 2);
    rig.detach(&volume).await;
    let kept = rig
        .cloud
        .create_snapshot(&rig.call(), id, "kept")
        .await
        .expect("taking a snapshot");
    for round in 0..2 {
        let larger = Bytes(volume.size.0 * 2);
        rig.cloud
            .resize(&rig.call(), id, larger)
            .await
            .expect("growing a volume");
        let device = rig.attach(&volume).await;
        for offset in [0, 8192, last, larger.0 - 4096] {
            rig.guest.write(&device, offset, 0xFF);
        }
        rig.detach(&volume).await;
        let call = rig.call();
        for _ in 0..2 {
            rig.cloud
                .revert_to_snapshot(&call, id, &kept.snapshot_ref)
                .await
                .expect("reverting");
        }
        let device = rig.attach(&volume).await;
        assert_eq!(rig.guest.size(&device), volume.size, "round {round}");
        assert_eq!(rig.now(&volume).await.size, volume.size);
        let blocks = [0, 8192, last].map(|offset| rig.guest.read(&device, offset)[0]);
        assert_eq!(blocks, [0, 1, 2], "round {round}");
        rig.detach(&volume).await;
    }
    assert_eq!(rig.snapshots(id).await, [kept]);
    rig.scrap(&volume).await;
}

/// Content is never exchanged under a VM.
pub async fn revert_refuses_an_attached_volume(rig: Rig) {
    let volume = rig.stored(1).await;
    let id = &volume.provider_ref;
    let kept = rig
        .cloud
        .create_snapshot(&rig.call(), id, "kept")
        .await
        .expect("taking a snapshot");
    let device = rig.attach(&volume).await;
    rig.guest.write(&device, 0, 3);
    let before = rig.now(&volume).await;
    let answer = rig
        .cloud
        .revert_to_snapshot(&rig.call(), id, &kept.snapshot_ref)
        .await;
    assert_kind(answer, &["conflict"], "reverting an attached volume");
    assert_eq!(rig.now(&volume).await, before);
    assert_eq!(rig.guest.read(&device, 0), [3; 4096]);
    rig.scrap(&volume).await;
}

/// Snapshots are content too: their volume goes after them.
pub async fn a_volume_with_snapshots_is_not_deleted(rig: Rig) {
    let volume = rig.stored(1).await;
    let id = &volume.provider_ref;
    let kept = rig
        .cloud
        .create_snapshot(&rig.call(), id, "kept")
        .await
        .expect("taking a snapshot");
    assert_kind(
        rig.cloud.delete_volume(&rig.call(), id).await,
        &["conflict"],
        "deleting a volume with snapshots",
    );
    assert_eq!(rig.snapshots(id).await, [kept]);
    rig.scrap(&volume).await;
}

/// A snapshot of a volume in use holds what was flushed before it and nothing of what came later, or it is refused.
pub async fn a_snapshot_of_a_volume_in_use_is_of_one_instant_or_refused(rig: Rig) {
    let volume = rig.stored(1).await;
    let id = &volume.provider_ref;
    let device = rig.attach(&volume).await;
    rig.guest.write(&device, 0, 1);
    let answer = rig.cloud.create_snapshot(&rig.call(), id, "live").await;
    rig.guest.write(&device, 0, 2);
    rig.detach(&volume).await;
    match answer {
        Ok(live) => {
            rig.cloud
                .revert_to_snapshot(&rig.call(), id, &live.snapshot_ref)
                .await
                .expect("reverting");
            assert_eq!(rig.guest.read(&rig.attach(&volume).await, 0), [1; 4096]);
        }
        refused => {
            assert_kind(refused, &["conflict"], "snapshot of a volume in use");
            assert_eq!(rig.snapshots(id).await, []);
        }
    }
    rig.scrap(&volume).await;
}
