//! The property that crash recovery rests on: a call whose outcome is unknown may be repeated, and then it is known.

use std::sync::Arc;

use super::{Rig, assert_kind};
use crate::cloud::{Cloud, CloudError, Fault, FaultScript, Faulty, Method};
use crate::model::Bytes;

/// Every mutation with its request lost, its answer lost, and then repeated as the same call: done once, and only once.
pub async fn lost_requests_and_answers_are_healed_by_repeating_the_call(rig: Rig) {
    let script = FaultScript::new();
    let lossy = Faulty::around(script.clone(), Arc::clone(&rig.cloud));
    let lose = |method| {
        script.push(method, Fault::LoseRequest);
        script.push(method, Fault::LoseAnswer);
    };
    let vm = rig.cloud.own_vm().await.expect("knowing the own VM");
    let (call, spec) = (rig.call(), rig.spec(1));

    lose(Method::CreateVolume);
    assert_unknown(lossy.create_volume(&call, &spec).await);
    assert_eq!(rig.named(&spec.name).await, []);
    assert_unknown(lossy.create_volume(&call, &spec).await);
    let found = rig.named(&spec.name).await;
    let volume = lossy
        .create_volume(&call, &spec)
        .await
        .expect("repeating a create");
    assert_eq!(found, std::slice::from_ref(&volume));
    let id = &volume.provider_ref;
    rig.give_storage(&volume).await;

    lose(Method::CreateSnapshot);
    let call = rig.call();
    assert_unknown(lossy.create_snapshot(&call, id, "kept").await);
    assert_unknown(lossy.create_snapshot(&call, id, "kept").await);
    let kept = lossy
        .create_snapshot(&call, id, "kept")
        .await
        .expect("repeating a snapshot");
    assert_eq!(rig.snapshots(id).await, std::slice::from_ref(&kept));

    lose(Method::Attach);
    let call = rig.call();
    assert_unknown(lossy.attach(&call, id, &vm).await);
    assert_eq!(rig.now(&volume).await.attached_to, None);
    assert_unknown(lossy.attach(&call, id, &vm).await);
    let device = rig.device(&volume).await;
    lossy.attach(&call, id, &vm).await.expect("repeating an attach");
    assert_eq!(rig.device(&volume).await, device);

    lose(Method::Resize);
    let (call, larger) = (rig.call(), Bytes(volume.size.0 * 2));
    assert_unknown(lossy.resize(&call, id, larger).await);
    assert_eq!(rig.guest.size(&device), volume.size);
    assert_unknown(lossy.resize(&call, id, larger).await);
    lossy.resize(&call, id, larger).await.expect("repeating a resize");
    super::wait_until("the device has grown", || rig.guest.size(&device) == larger).await;

    lose(Method::Detach);
    let call = rig.call();
    assert_unknown(lossy.detach(&call, id, &vm).await);
    assert_eq!(rig.device(&volume).await, device);
    assert_unknown(lossy.detach(&call, id, &vm).await);
    lossy.detach(&call, id, &vm).await.expect("repeating a detach");
    rig.detach(&volume).await;

    lose(Method::RevertToSnapshot);
    let call = rig.call();
    assert_unknown(lossy.revert_to_snapshot(&call, id, &kept.snapshot_ref).await);
    assert_unknown(lossy.revert_to_snapshot(&call, id, &kept.snapshot_ref).await);
    lossy
        .revert_to_snapshot(&call, id, &kept.snapshot_ref)
        .await
        .expect("repeating a revert");
    assert_eq!(rig.now(&volume).await.size, volume.size);

    lose(Method::DeleteSnapshot);
    let call = rig.call();
    assert_unknown(lossy.delete_snapshot(&call, id, &kept.snapshot_ref).await);
    assert_unknown(lossy.delete_snapshot(&call, id, &kept.snapshot_ref).await);
    lossy
        .delete_snapshot(&call, id, &kept.snapshot_ref)
        .await
        .expect("repeating a deletion");

    lose(Method::DeleteVolume);
    let call = rig.call();
    assert_unknown(lossy.delete_volume(&call, id).await);
    assert_unknown(lossy.delete_volume(&call, id).await);
    lossy
        .delete_volume(&call, id)
        .await
        .expect("repeating a deletion");
    assert_eq!(rig.cloud.volume(id).await.expect("reading a volume"), None);
}

fn assert_unknown<T: std::fmt::Debug>(answer: Result<T, CloudError>) {
    assert!(answer.as_ref().is_err_and(CloudError::is_unknown), "{answer:?}");
    assert_kind(answer, &["unknown"], "a lost answer");
}
