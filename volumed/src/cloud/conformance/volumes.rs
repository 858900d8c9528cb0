//! Properties of making, listing and deleting volumes.

use super::{Rig, assert_kind, both};
use crate::cloud::NewVolume;
use crate::model::Bytes;

/// A fresh volume has its name and exact size, is detached, and every way of asking finds the same.
pub async fn a_created_volume_is_listed_everywhere(rig: Rig) {
    let spec = rig.spec(3);
    let made = rig
        .cloud
        .create_volume(&rig.call(), &spec)
        .await
        .expect("creating a volume");
    assert_eq!((&made.name, made.size), (&spec.name, spec.size));
    assert!(made.state.is_settled(), "{:?}", made.state);
    assert_eq!(made.attached_to, None);
    assert_eq!(rig.now(&made).await, made);
    assert_eq!(rig.named(&spec.name).await, std::slice::from_ref(&made));
    let all = rig.cloud.volumes().await.expect("listing volumes");
    assert_eq!(
        all.iter()
            .filter(|v| v.provider_ref == made.provider_ref)
            .collect::<Vec<_>>(),
        [&made]
    );
    let prefix = &spec.name[..spec.name.len() - 1];
    assert_eq!(rig.named(prefix).await, [], "names match exactly");
    rig.scrap(&made).await;
}

/// The same create again, by the same call or another, finds what the first made.
pub async fn create_repeated_makes_one_volume(rig: Rig) {
    let (call, spec) = (rig.call(), rig.spec(1));
    let first = rig
        .cloud
        .create_volume(&call, &spec)
        .await
        .expect("creating a volume");
    let again = rig
        .cloud
        .create_volume(&call, &spec)
        .await
        .expect("repeating a create");
    let other_call = rig
        .cloud
        .create_volume(&rig.call(), &spec)
        .await
        .expect("repeating a create");
    assert_eq!([&again, &other_call], [&first, &first]);
    assert_eq!(rig.named(&spec.name).await, std::slice::from_ref(&first));
    rig.scrap(&first).await;
}

/// A second volume of one name is refused where the size differs.
pub async fn a_name_is_given_once(rig: Rig) {
    let spec = rig.spec(1);
    let first = rig
        .cloud
        .create_volume(&rig.call(), &spec)
        .await
        .expect("creating a volume");
    let larger = NewVolume {
        size: Bytes(spec.size.0 * 2),
        ..spec
    };
    assert_kind(
        rig.cloud.create_volume(&rig.call(), &larger).await,
        &["conflict"],
        "same name, other size",
    );
    assert_eq!(rig.now(&first).await, first);
    rig.scrap(&first).await;
}

/// Creates of one name that pass each other make one volume.
pub async fn creates_of_one_name_at_once_make_one_volume(rig: Rig) {
    let spec = rig.spec(1);
    let (one, two) = (rig.call(), rig.call());
    let (a, b) = both(
        rig.cloud.create_volume(&one, &spec),
        rig.cloud.create_volume(&two, &spec),
    )
    .await;
    let (a, b) = (a.expect("creating at once"), b.expect("creating at once"));
    assert_eq!(a, b);
    rig.scrap(&a).await;
}

/// Empty, uneven and absurd sizes are refused, and nothing comes of them.
pub async fn sizes_out_of_bounds_are_refused(rig: Rig) {
    let can = rig.cloud.capabilities();
    let over = can
        .max_size
        .0
        .checked_add(can.size_unit.0)
        .expect("room above the maximum");
    let spec = rig.spec(1);
    for size in [0, can.size_unit.0 - 1, can.size_unit.0 + 1, over, u64::MAX] {
        let bad = NewVolume {
            size: Bytes(size),
            ..spec.clone()
        };
        assert_kind(
            rig.cloud.create_volume(&rig.call(), &bad).await,
            &["refused"],
            &format!("size {size}"),
        );
    }
    assert_eq!(rig.named(&spec.name).await, []);
    let volume = rig.created(1).await;
    for size in [volume.size.0 + 1, over, u64::MAX] {
        let answer = rig
            .cloud
            .resize(&rig.call(), &volume.provider_ref, Bytes(size))
            .await;
        assert_kind(answer, &["refused"], &format!("resize to {size}"));
    }
    assert_eq!(rig.now(&volume).await, volume);
    rig.scrap(&volume).await;
}

/// Names are for people too.
pub async fn names_that_cannot_be_shown_are_refused(rig: Rig) {
    for name in ["", "a\nb", "nul\0", &"x".repeat(256)] {
        let bad = NewVolume {
            name: name.to_owned(),
            size: rig.size(1),
        };
        assert_kind(
            rig.cloud.create_volume(&rig.call(), &bad).await,
            &["refused"],
            &format!("name {name:?}"),
        );
    }
}

/// Reads say `None`, changes say not found, removals succeed; a reference is never taken for a path.
pub async fn what_does_not_exist_is_said_so(rig: Rig) {
    let vm = rig.cloud.own_vm().await.expect("knowing the own VM");
    let unknown = uuid::Uuid::new_v4().to_string();
    for id in [
        unknown.as_str(),
        "",
        ".",
        "..",
        "../trash",
        "a/b",
        "/etc",
        "no such volume",
    ] {
        let (cloud, call, not_found) = (&rig.cloud, rig.call(), &["not_found"]);
        assert_eq!(cloud.volume(id).await.expect("reading a volume"), None, "{id:?}");
        assert_kind(cloud.attach(&call, id, &vm).await, not_found, "attach");
        assert_kind(cloud.detach(&call, id, &vm).await, not_found, "detach");
        assert_kind(cloud.resize(&call, id, rig.size(1)).await, not_found, "resize");
        assert_kind(cloud.snapshots(id).await, not_found, "snapshots");
        assert_kind(
            cloud.create_snapshot(&call, id, "s").await,
            not_found,
            "create_snapshot",
        );
        assert_kind(
            cloud.revert_to_snapshot(&call, id, &unknown).await,
            not_found,
            "revert",
        );
        assert_kind(
            cloud.delete_snapshot(&call, id, &unknown).await,
            &["ok"],
            "delete_snapshot",
        );
        assert_kind(cloud.delete_volume(&call, id).await, &["ok"], "delete_volume");
    }
    assert_eq!(rig.named(&unknown).await, []);
}

/// What is deleted stays deleted, and its name is free again.
pub async fn delete_repeated_succeeds(rig: Rig) {
    let (call, spec) = (rig.call(), rig.spec(1));
    let volume = rig
        .cloud
        .create_volume(&rig.call(), &spec)
        .await
        .expect("creating a volume");
    for _ in 0..2 {
        rig.cloud
            .delete_volume(&call, &volume.provider_ref)
            .await
            .expect("deleting a volume");
        assert_eq!(
            rig.cloud
                .volume(&volume.provider_ref)
                .await
                .expect("reading a volume"),
            None
        );
        assert_eq!(rig.named(&spec.name).await, []);
    }
    let next = rig
        .cloud
        .create_volume(&rig.call(), &spec)
        .await
        .expect("creating a volume of a freed name");
    assert_ne!(next.provider_ref, volume.provider_ref);
    rig.scrap(&next).await;
}

/// Nothing is deleted under a VM that uses it.
pub async fn delete_refuses_an_attached_volume(rig: Rig) {
    let volume = rig.created(1).await;
    let device = rig.attach(&volume).await;
    rig.guest.write(&device, 0, 0x5A);
    assert_kind(
        rig.cloud.delete_volume(&rig.call(), &volume.provider_ref).await,
        &["conflict"],
        "deleting an attached volume",
    );
    assert_eq!(rig.device(&volume).await, device);
    assert_eq!(rig.guest.read(&device, 0), [0x5A; 4096]);
    rig.scrap(&volume).await;
}
