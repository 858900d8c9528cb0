//! What the embedded provider promises beyond the suite: crashes, intruders, held devices, full disks.

mod cloud_rig;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::time::Duration;

use cloud_rig::{
    Bench, ForeignLoop, Losetup, Mounted, VM, call, can, can_loop, installed, open, spec, wait_until,
};
use tempfile::TempDir;
use volumed::cloud::conformance::Guest;
use volumed::cloud::{Cloud, CloudError, LocalCloud, LocalConfig, LocalOpenError, NewVolume, ProviderState};
use volumed::model::Bytes;

type Answer = Result<(), CloudError>;

#[track_caller]
fn conflict(answer: Answer, because: &str) {
    match answer {
        Err(CloudError::Conflict { reason, .. }) => assert!(reason.contains(because), "{reason}"),
        other => panic!("expected a conflict because `{because}`, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_device_is_detached_but_stands_in_the_way_until_it_is_let_go() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let (volume, device) = bench.attached("held").await;
    let (cloud, id) = (bench.cloud(), volume.provider_ref.as_str());
    let pin = File::open(&device).unwrap();
    cloud.detach(&call(), id, VM).await.unwrap();
    cloud.detach(&call(), id, VM).await.unwrap();
    assert_eq!(bench.now(&volume).await.attached_to, None);
    assert_eq!(
        Losetup.devices(volume.identity.as_ref().unwrap()),
        [device],
        "the kernel still has it"
    );

    let kept = cloud.create_snapshot(&call(), id, "while held").await;
    assert!(
        matches!(kept, Err(CloudError::Conflict { .. })),
        "ext4 clones nothing, a holder may write: {kept:?}"
    );
    conflict(cloud.attach(&call(), id, VM).await, "still going away");
    conflict(cloud.delete_volume(&call(), id).await, "still going away");

    drop(pin);
    cloud.attach(&call(), id, VM).await.unwrap();
    assert_eq!(bench.now(&volume).await.attached_to.as_deref(), Some(VM));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_waits_for_a_short_hold() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let (volume, device) = bench.attached("probed").await;
    let pin = File::open(&device).unwrap();
    bench
        .cloud()
        .detach(&call(), &volume.provider_ref, VM)
        .await
        .unwrap();
    let call = call();
    let mut attach = bench.cloud().attach(&call, &volume.provider_ref, VM);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut attach).await;
    assert!(early.is_err(), "attached over a device that was held: {early:?}");
    drop(pin);
    attach.await.unwrap();
    assert_eq!(Losetup.devices(volume.identity.as_ref().unwrap()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_of_others_are_left_alone() {
    if !can_loop() {
        return;
    }
    let (bench, elsewhere) = (Bench::new(), TempDir::with_prefix("volumed-cloud-").unwrap());
    let volume = bench.created("mine").await;
    // As like to ours as can be: same directory name, same file name, another file.
    let twin = elsewhere.path().join(&volume.provider_ref).join("disk.raw");
    fs::create_dir(twin.parent().unwrap()).unwrap();
    File::create_new(&twin).unwrap().set_len(1 << 20).unwrap();
    let foreign = ForeignLoop::over(&twin);
    let (cloud, id) = (bench.cloud(), volume.provider_ref.as_str());
    assert_eq!(bench.now(&volume).await.attached_to, None);
    cloud.detach(&call(), id, VM).await.unwrap();
    cloud.attach(&call(), id, VM).await.unwrap();
    let mine = Losetup.devices(volume.identity.as_ref().unwrap());
    assert!(mine.len() == 1 && mine[0] != foreign.device, "{mine:?}");
    cloud.detach(&call(), id, VM).await.unwrap();
    cloud.delete_volume(&call(), id).await.unwrap();
    assert_eq!(foreign.backing(), Some(twin));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_attached_twice_is_refused_and_both_devices_stay() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let (volume, device) = bench.attached("twice").await;
    let second = ForeignLoop::over(&bench.disk(&volume));
    let (cloud, id) = (bench.cloud(), volume.provider_ref.as_str());
    let state = bench.now(&volume).await.state;
    assert!(
        matches!(&state, ProviderState::Unusable(why) if why.contains("twice")),
        "{state:?}"
    );
    let because = "attached twice";
    conflict(cloud.attach(&call(), id, VM).await, because);
    conflict(cloud.detach(&call(), id, VM).await, because);
    conflict(cloud.resize(&call(), id, Bytes(2 << 20)).await, because);
    conflict(cloud.delete_volume(&call(), id).await, because);
    assert_eq!(Losetup.devices(volume.identity.as_ref().unwrap()).len(), 2);
    drop(second);
    let one_left = || Losetup.devices(volume.identity.as_ref().unwrap()) == [device.clone()];
    wait_until("the second device is gone", one_left).await;
    cloud.detach(&call(), id, VM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_outlive_the_daemon_and_are_found_whoever_made_them() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let (ours, device) = bench.attached("ours").await;
    let theirs = bench.created("theirs").await;
    let by_hand = ForeignLoop::over(&bench.disk(&theirs));
    let bench = bench.restart(|_| ());
    for volume in [&ours, &theirs] {
        assert_eq!(bench.now(volume).await.attached_to.as_deref(), Some(VM));
        bench
            .cloud()
            .attach(&call(), &volume.provider_ref, VM)
            .await
            .unwrap();
    }
    assert_eq!(Losetup.devices(ours.identity.as_ref().unwrap()), [device]);
    bench
        .cloud()
        .detach(&call(), &theirs.provider_ref, VM)
        .await
        .unwrap();
    assert_eq!(bench.now(&theirs).await.attached_to, None);
    drop(by_hand);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_owns_a_root() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let again = LocalCloud::open(LocalConfig {
        root: bench.root.clone(),
        vm_id: VM.into(),
    });
    assert!(matches!(again, Err(LocalOpenError::InUse { .. })), "{again:?}");
    bench.restart(|root| drop(open(root)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_cut_short_is_not_listed_and_is_finished_by_the_same_call() {
    if !can_loop() {
        return;
    }
    let (bench, call, spec) = (Bench::new(), call(), spec("cut short"));
    let made = bench.cloud().create_volume(&call, &spec).await.unwrap();
    let record = bench.volume_dir(&made).join("volume.json");
    let bench = bench.restart(|_| fs::rename(&record, record.with_extension("json.tmp")).unwrap());
    let cloud = bench.cloud();
    assert_eq!(cloud.volume(&made.provider_ref).await.unwrap(), None);
    assert_eq!(cloud.volumes().await.unwrap(), []);
    // What was left was tidied away; the same call makes the same volume, on a file of its own.
    let again = cloud.create_volume(&call, &spec).await.unwrap();
    assert_eq!(
        (&again.provider_ref, &again.name, again.size),
        (&made.provider_ref, &made.name, made.size)
    );

    // Without its record but with data it is not an unfinished create, whatever it is.
    File::options()
        .write(true)
        .open(bench.disk(&made))
        .unwrap()
        .write_all_at(b"precious", 4096)
        .unwrap();
    fs::remove_file(&record).unwrap();
    conflict(cloud.create_volume(&call, &spec).await.map(drop), "holds data");
    assert_eq!(&fs::read(bench.disk(&made)).unwrap()[4096..4104], b"precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_record_or_content_is_broken_is_shown_and_kept() {
    if !can_loop() {
        return;
    }
    let bench = Bench::new();
    let cloud = bench.cloud();
    let garbled = bench.created("garbled").await;
    fs::write(bench.volume_dir(&garbled).join("volume.json"), b"{\"name\":").unwrap();
    let gone = bench.created("gone").await;
    fs::rename(bench.disk(&gone), bench.root.join("elsewhere.raw")).unwrap();
    let linked = bench.created("linked").await;
    fs::rename(bench.disk(&linked), bench.root.join("target.raw")).unwrap();
    symlink(bench.root.join("target.raw"), bench.disk(&linked)).unwrap();
    let shared = bench.created("shared").await;
    fs::hard_link(bench.disk(&shared), bench.root.join("second-name")).unwrap();
    let broken = [
        (garbled, "makes no sense"),
        (gone, "missing"),
        (linked, "symbolic link"),
        (shared, "2 names"),
    ];
    for (volume, because) in &broken {
        let state = bench.now(volume).await.state;
        assert!(
            matches!(&state, ProviderState::Unusable(why) if why.contains(because)),
            "{because}: {state:?}"
        );
        let id = volume.provider_ref.as_str();
        conflict(cloud.attach(&call(), id, VM).await, because);
        conflict(cloud.delete_volume(&call(), id).await, because);
        assert!(bench.volume_dir(volume).exists());
    }
    assert_eq!(
        cloud.volumes().await.unwrap().len(),
        broken.len(),
        "one broken volume hides no other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_did_not_make_is_neither_followed_nor_removed() {
    if !can_loop() {
        return;
    }
    let (bench, outside) = (Bench::new(), TempDir::with_prefix("volumed-cloud-").unwrap());
    let volume = bench.created("guest").await;
    let foreign = bench.volume_dir(&volume).join("notes.txt");
    fs::write(&foreign, "mine").unwrap();
    conflict(
        bench.cloud().delete_volume(&call(), &volume.provider_ref).await,
        "notes.txt",
    );
    assert!(foreign.exists() && bench.disk(&volume).exists());

    // A link with a volume's name is no volume, and what is behind it is out of reach.
    let (id, copy) = (uuid::Uuid::new_v4().to_string(), outside.path().join("copy"));
    fs::create_dir(&copy).unwrap();
    for name in ["disk.raw", "volume.json"] {
        fs::copy(bench.volume_dir(&volume).join(name), copy.join(name)).unwrap();
    }
    symlink(&copy, bench.root.join("volumes").join(&id)).unwrap();
    assert_eq!(bench.cloud().volume(&id).await.unwrap(), None);
    assert_eq!(bench.cloud().volumes().await.unwrap(), [bench.now(&volume).await]);
    bench.cloud().delete_volume(&call(), &id).await.unwrap();
    assert!(copy.join("disk.raw").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn leavings_of_a_crash_are_cleared_and_nothing_else() {
    if !can_loop() {
        return;
    }
    let (bench, taking) = (Bench::new(), call());
    let volume = bench.created("leavings").await;
    let id = volume.provider_ref.clone();
    let kept = bench.cloud().create_snapshot(&taking, &id, "kept").await.unwrap();
    let dir = bench.volume_dir(&volume);
    let deleted = uuid::Uuid::new_v4().to_string();
    let bench = bench.restart(|root| {
        // A snapshot, a revert and two deletions, each cut short; in one of these lies a file of somebody else.
        let snapshots = dir.join("snapshots");
        fs::rename(
            snapshots.join(&kept.snapshot_ref),
            snapshots.join(format!("tmp-{}", kept.snapshot_ref)),
        )
        .unwrap();
        fs::write(dir.join("disk.raw.new"), "half").unwrap();
        for name in [deleted.as_str(), &uuid::Uuid::new_v4().to_string()] {
            fs::create_dir(root.join("trash").join(name)).unwrap();
            fs::write(root.join("trash").join(name).join("disk.raw"), "").unwrap();
        }
        fs::write(root.join("trash").join(&deleted).join("notes.txt"), "mine").unwrap();
    });
    let trash = |root: &Path| fs::read_dir(root.join("trash")).unwrap().count();
    assert_eq!(trash(&bench.root), 1);
    assert!(bench.root.join("trash").join(&deleted).join("notes.txt").exists());

    let cloud = bench.cloud();
    assert_eq!(cloud.snapshots(&id).await.unwrap(), []);
    assert_eq!(cloud.create_snapshot(&taking, &id, "kept").await.unwrap(), kept);
    cloud
        .revert_to_snapshot(&call(), &id, &kept.snapshot_ref)
        .await
        .unwrap();
    assert!(!dir.join("disk.raw.new").exists());
    cloud
        .delete_snapshot(&call(), &id, &kept.snapshot_ref)
        .await
        .unwrap();
    cloud.delete_volume(&call(), &id).await.unwrap();
    assert!(!dir.exists());
    assert_eq!(trash(&bench.root), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_so_and_leaves_nothing_usable() {
    if !can_loop() {
        return;
    }
    let mounted = Mounted::tmpfs("size=8m,nr_inodes=32");
    let bench = Bench::at(mounted.path().join("root"));
    let volume = bench
        .cloud()
        .create_volume(
            &call(),
            &NewVolume {
                size: Bytes(6 << 20),
                ..spec("full")
            },
        )
        .await
        .unwrap();
    let content = vec![7; 6 << 20];
    File::options()
        .write(true)
        .open(bench.disk(&volume))
        .unwrap()
        .write_all_at(&content, 0)
        .unwrap();
    let taken = bench
        .cloud()
        .create_snapshot(&call(), &volume.provider_ref, "too large")
        .await;
    assert!(matches!(taken, Err(CloudError::NoSpace { .. })), "{taken:?}");
    assert_eq!(bench.cloud().snapshots(&volume.provider_ref).await.unwrap(), []);
    assert!(fs::read(bench.disk(&volume)).unwrap() == content);

    let mut ballast = Vec::new();
    let full = loop {
        let path = mounted.path().join(format!("ballast{}", ballast.len()));
        match File::create_new(&path) {
            Ok(_) => ballast.push(path),
            Err(e) => break e.kind(),
        }
    };
    assert_eq!(full, ErrorKind::StorageFull);
    let (call, spec) = (call(), spec("later"));
    let refused = bench.cloud().create_volume(&call, &spec).await;
    assert!(matches!(refused, Err(CloudError::NoSpace { .. })), "{refused:?}");
    assert_eq!(bench.cloud().volumes_named("later").await.unwrap(), []);
    ballast.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(
        bench.cloud().create_volume(&call, &spec).await.unwrap().name,
        "later"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_files_can_be_cloned_a_volume_in_use_can_be_kept() {
    if !can_loop() || !can("make a btrfs (package btrfs-progs)", installed("mkfs.btrfs")) {
        return;
    }
    let mounted = Mounted::btrfs();
    let bench = Bench::at(mounted.path().join("root"));
    let (volume, device) = bench.attached("live").await;
    let file = File::options().write(true).open(&device).unwrap();
    file.write_all_at(b"in the page cache only", 0).unwrap();
    let kept = bench
        .cloud()
        .create_snapshot(&call(), &volume.provider_ref, "live")
        .await
        .unwrap();
    let content = bench
        .volume_dir(&volume)
        .join("snapshots")
        .join(&kept.snapshot_ref)
        .join("disk.raw");
    assert!(fs::read(content).unwrap().starts_with(b"in the page cache only"));
}
