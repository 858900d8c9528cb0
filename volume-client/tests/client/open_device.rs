//! `open_device` on real loop devices, with a daemon that tells the truth and one that does not.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;
use volume_client::client::{ClientError, OpenDevice};
use volume_client::types::{ErrorCode, LeaseAccess, LeasePurpose, VolumeDevice};

use crate::client;
use crate::fake::{Fake, Reply, Seen, sample, wait_until};

/// A loop device over a sparse file; detached when dropped.
struct Loop {
    path: PathBuf,
    backing: PathBuf,
}

impl Loop {
    fn new(dir: &Path, name: &str, size: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "CI has no root for loop devices"
            );
            eprintln!("SKIPPED: loop devices need root");
            return None;
        }
        let backing = dir.join(name);
        File::create(&backing).unwrap().set_len(size).unwrap();
        let out = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&backing)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let path = String::from_utf8(out.stdout).unwrap().trim().into();
        Some(Self { path, backing })
    }

    fn sys(&self, file: &str) -> String {
        let name = self.path.file_name().unwrap().to_str().unwrap();
        fs::read_to_string(format!("/sys/block/{name}/{file}"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// The truth about it, from sources other than the client's.
    fn device(&self) -> VolumeDevice {
        let backing = fs::metadata(&self.backing).unwrap();
        VolumeDevice {
            device_path: self.path.to_str().unwrap().to_owned(),
            devnum: self.sys("dev"),
            size_bytes: self.sys("size").parse::<u64>().unwrap() * 512,
            identity: format!("loop:{}:{}", backing.dev(), backing.ino()),
            diskseq: Some(self.sys("diskseq").parse().unwrap()),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap()
                .trim()
                .to_owned(),
            ..sample::volume_device()
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.path).status();
    }
}

fn daemon(dir: &Path, device: VolumeDevice) -> Fake {
    Fake::start(dir, move |seen| answer(seen, &device))
}

fn answer(seen: &Seen, device: &VolumeDevice) -> Reply {
    match seen.call().as_str() {
        "POST /api/v1/leases" => {
            Reply::Json(201, serde_json::to_value(sample::grant(device.clone())).unwrap())
        }
        call if call.ends_with("/renew") => Reply::ok(sample::lease()),
        call if call.starts_with("DELETE") => Reply::Json(204, serde_json::Value::Null),
        other => panic!("unexpected {other}"),
    }
}

fn writing() -> OpenDevice {
    OpenDevice::new(LeaseAccess::Write, LeasePurpose::Transfer, "test")
}

async fn open(fake: &Fake) -> Result<volume_client::OpenedDevice, ClientError> {
    client(fake)
        .open_device(sample::VOLUME.parse().unwrap(), writing())
        .await
}

fn released(fake: &Fake) -> bool {
    fake.calls().last() == Some(&format!("DELETE /api/v1/leases/{}", sample::LEASE))
}

#[tokio::test]
async fn the_true_device_is_opened_written_and_released() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let fake = daemon(dir.path(), disk.device());
    let opened = open(&fake).await.unwrap();
    assert!(opened.known_zero() && !opened.lost());
    let request = fake.seen()[0].json();
    assert_eq!(
        (&request["access"], &request["holder"]),
        (&"write".into(), &"test".into())
    );

    // Exclusive: a second one is refused, and mounting would be.
    let second = open(&fake).await.unwrap_err();
    assert!(matches!(second, ClientError::DeviceBusy { .. }), "{second:?}");
    assert!(second.hint().unwrap().contains("fuser"));
    assert!(released(&fake), "the second one's lease");

    let mut clone = opened.try_clone().unwrap();
    clone.write_all(b"first bytes").unwrap();
    drop(clone);
    let before = fake.calls().len();
    opened.close().await.unwrap();
    assert_eq!(fake.calls().len(), before + 1);
    assert!(released(&fake));
    let mut bytes = [0; 11];
    File::open(&disk.backing).unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"first bytes");
}

#[tokio::test]
async fn every_false_word_about_a_device_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let Some(other) = Loop::new(dir.path(), "other", 8 << 20) else {
        return;
    };
    let truth = disk.device();
    let file = disk.backing.to_str().unwrap().to_owned();
    type Lie = Box<dyn Fn(&mut VolumeDevice)>;
    let (path, same_number) = (other.path.to_str().unwrap().to_owned(), other.device());
    let lies: Vec<(&str, Lie)> = vec![
        ("type", Box::new(move |d| d.device_path.clone_from(&file))),
        (
            "device number",
            Box::new(move |d| d.device_path.clone_from(&path)),
        ),
        ("boot", Box::new(|d| d.boot_id = sample::BOOT.to_owned())),
        ("diskseq", Box::new(|d| d.diskseq = d.diskseq.map(|n| n + 1))),
        ("size", Box::new(|d| d.size_bytes += 512)),
        ("identity", Box::new(|d| d.identity += "0")),
        ("identity", Box::new(|d| d.identity = "serial:abc".to_owned())),
        // The other disk in all but its identity: what a swapped name with a reused number looks like.
        (
            "identity",
            Box::new(move |d| {
                let identity = d.identity.clone();
                *d = same_number.clone();
                d.identity = identity;
            }),
        ),
    ];
    for (what, lie) in lies {
        let mut device = truth.clone();
        lie(&mut device);
        let fake = daemon(dir.path(), device.clone());
        let error = open(&fake).await.unwrap_err();
        let ClientError::DeviceMismatch(mismatch) = &error else {
            panic!("{what}: {error:?}")
        };
        assert_eq!(mismatch.what, what);
        assert_ne!(mismatch.expected, mismatch.found);
        let text = error.to_string();
        assert!(
            text.contains(&mismatch.expected) && text.contains(&mismatch.found),
            "{text}"
        );
        assert!(released(&fake), "{what}: the lease stays behind");
    }
    // And none of them left the device claimed.
    let fake = daemon(dir.path(), truth);
    open(&fake).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn links_and_missing_nodes_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&disk.path, &link).unwrap();
    for path in [link, dir.path().join("none")] {
        let device = VolumeDevice {
            device_path: path.to_str().unwrap().to_owned(),
            ..disk.device()
        };
        let fake = daemon(dir.path(), device);
        let error = open(&fake).await.unwrap_err();
        assert!(
            matches!(error, ClientError::DeviceIo { what: "open", .. }),
            "{error:?}"
        );
        assert!(released(&fake));
    }
}

#[tokio::test]
async fn a_mounted_device_is_busy() {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let mount_point = dir.path().join("mnt");
    fs::create_dir(&mount_point).unwrap();
    assert!(
        Command::new("mkfs.ext4")
            .arg("-q")
            .arg(&disk.path)
            .status()
            .unwrap()
            .success()
    );
    assert!(
        Command::new("mount")
            .arg(&disk.path)
            .arg(&mount_point)
            .status()
            .unwrap()
            .success()
    );
    let mounted = Mounted(mount_point);
    let fake = daemon(dir.path(), disk.device());
    let error = open(&fake).await.unwrap_err();
    assert!(matches!(error, ClientError::DeviceBusy { .. }), "{error:?}");
    assert!(released(&fake));
    drop(mounted);
    open(&fake).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn dropping_closes_the_device_and_then_releases_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let free_at_release = Arc::new(AtomicBool::new(false));
    let (device, free, path) = (disk.device(), free_at_release.clone(), disk.path.clone());
    let fake = Fake::start(dir.path(), move |seen| {
        if seen.method == "DELETE" {
            let flags = rustix::fs::OFlags::EXCL | rustix::fs::OFlags::RDONLY;
            let claim = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
            free.store(claim.is_ok(), Ordering::SeqCst);
        }
        answer(seen, &device)
    });
    drop(open(&fake).await.unwrap());
    wait_until("the release", || released(&fake)).await;
    wait_until("the device to be free at the release", || {
        free_at_release.load(Ordering::SeqCst)
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_renewed_and_its_loss_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(dir.path(), "disk", 8 << 20) else {
        return;
    };
    let device = disk.device();
    let mut renewals = 0;
    let fake = Fake::start(dir.path(), move |seen| {
        if seen.path.ends_with("/renew") {
            renewals += 1;
            return match renewals {
                1 => Reply::ok(sample::lease()),
                _ => Reply::problem(ErrorCode::LeaseNotFound, "no such lease"),
            };
        }
        if seen.method == "DELETE" {
            return Reply::problem(ErrorCode::LeaseNotFound, "no such lease");
        }
        let mut grant = sample::grant(device.clone());
        grant.lease.expires_at = grant.lease.acquired_at + SignedDuration::from_secs(3);
        Reply::Json(201, serde_json::to_value(grant).unwrap())
    });
    let opened = open(&fake).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(10), opened.wait_lost())
        .await
        .unwrap();
    assert!(opened.lost());
    assert_eq!(
        fake.seen().iter().filter(|s| s.path.ends_with("/renew")).count(),
        2
    );
    opened.close().await.unwrap();
}
