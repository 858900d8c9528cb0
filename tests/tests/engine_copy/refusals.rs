//! Bad input: each a clear error, nothing created where it can be told beforehand, and nothing left in any case.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use volume_client::types::{NewVolume, SourceDisk, VolumeState};
use whole_system_tests::{Appliance, Mount, StackedLoop};

use super::images::{Member, SIZE, noise};
use super::support::{Bench, PATIENCE};

impl Bench {
    /// A source that must be refused before anything is created.
    async fn refused_at_once(&self, arguments: &[&str], words: &str) {
        self.refused(arguments, words).await;
        assert_eq!(self.volumes().await, [], "{arguments:?}");
    }

    /// The volume of an image that is known by its path, made beforehand.
    async fn volume_of(&self, image: &str, size_bytes: u64) -> volume_client::types::Volume {
        let name = image.rsplit('/').next().unwrap();
        let source = SourceDisk {
            vm: "m".into(),
            disk: format!("{image}#{name}"),
        };
        let new = NewVolume {
            name: "v".into(),
            size_bytes,
            source: Some(source),
        };
        let made = self
            .appliance
            .client()
            .create_volume_and_wait(&new, PATIENCE)
            .await;
        made.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_too_small() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = raw.to_str().unwrap();
    bench.volume_of(image, SIZE - (1 << 20)).await;
    let refused = bench.refused(&[image, "--vm", "m"], "the disk needs").await;
    assert!(
        refused.report["hint"]
            .as_str()
            .unwrap()
            .contains("volumectl volumes resize")
    );
    assert_eq!(bench.volumes().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_cut_off() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let ova = bench.ova("web.ova", &[Member::new("disk.vmdk", noise(1 << 20, 5))]);
    File::options()
        .write(true)
        .open(&ova)
        .unwrap()
        .set_len(300 << 10)
        .unwrap();
    bench.refused_at_once(&[ova.to_str().unwrap()], "web.ova").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_are_hostile() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let vmdk = bench.converted(&raw, "d.vmdk", &["vmdk", "-o", "subformat=streamOptimized"]);
    let vmdk = fs::read(vmdk).unwrap();
    let secret = bench.full_disk("secret.raw", 1 << 20);
    let member = |file, content: &[u8]| Member::new(file, content.to_vec());

    let traversal = bench.ova("traversal.ova", &[member("../../secret.raw", &vmdk)]);
    bench
        .refused_at_once(&[traversal.to_str().unwrap()], "../../secret.raw")
        .await;

    let folder = bench.path("linked");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("disk.vmdk")).unwrap();
    let inside = bench.ova("inside.ova", &[member("disk.vmdk", &vmdk)]);
    let document = fs::read(inside).unwrap();
    let end = document[512..].iter().position(|byte| *byte == 0).unwrap();
    fs::write(folder.join("web.ovf"), &document[512..512 + end]).unwrap();
    bench
        .refused_at_once(&[folder.join("web.ovf").to_str().unwrap()], "symbolic link")
        .await;

    let mut lies = member("disk.vmdk", &vmdk);
    lies.capacity = 1 << 30;
    let lies = bench.ova("lies.ova", &[lies]);
    bench
        .refused_at_once(&[lies.to_str().unwrap()], "1073741824")
        .await;

    let zeroes = bench.path("bomb.vmdk");
    File::create_new(&zeroes).unwrap().set_len(256 << 20).unwrap();
    whole_system_tests::run("gzip", ["-9", "-n", zeroes.to_str().unwrap()]);
    let mut bomb = member(
        "bomb.vmdk.gz",
        &fs::read(zeroes.with_extension("vmdk.gz")).unwrap(),
    );
    bomb.attributes = r#"ovf:compression="gzip""#;
    let bomb = bench.ova("bomb.ova", &[bomb]);
    bench
        .refused_at_once(&[bomb.to_str().unwrap()], "bomb.vmdk.gz")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_image() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = bench.converted(&raw, "disk.qcow2", &["qcow2"]);
    // The first table of the mapping now points far beyond the file.
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut table = [0; 8];
    file.read_exact_at(&mut table, 40).unwrap();
    file.write_all_at(
        &(0x8000_0fff_ffff_0000_u64).to_be_bytes(),
        u64::from_be_bytes(table),
    )
    .unwrap();
    bench
        .refused_at_once(&[image.to_str().unwrap()], "disk.qcow2")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    for (uri, words) in [
        ("nbd:///export", "names no host"),
        ("nbd+unix:///export", "names no socket"),
        ("http://host/disk.img", "only files"),
        ("nbd+unix:///x?socket=/nowhere/at/all", "cannot connect"),
    ] {
        bench.refused_at_once(&[uri], words).await;
    }
    let usage = bench.copy(&["disk.raw", "--nbd-listen", "somewhere"]).await;
    assert_eq!(usage.code, Some(2), "{usage:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_there() {
    let Some(mut bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    bench.appliance.stop().await;
    let ended = bench.copy(&[raw.to_str().unwrap()]).await;
    ended.assert_failed("cannot reach the volume daemon");
    assert!(
        ended.report["hint"]
            .as_str()
            .unwrap()
            .contains("systemctl status volumed")
    );
    assert_eq!(bench.processes(), Vec::<String>::new());
    bench.assert_no_files_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_held_or_mounted() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = raw.to_str().unwrap();
    let volume = bench.volume_of(image, SIZE + (4 << 20)).await;
    let node = bench.appliance.attach(volume.id).await.device_path;
    {
        let _holder = StackedLoop::over(&node);
        let ended = bench.copy(&[image, "--vm", "m", "--overwrite"]).await;
        ended.assert_failed("in use");
    }
    fs::write(&node, fs::read(&raw).unwrap()).unwrap();
    {
        let _mount = Mount::ext4(&node, bench.path("mounted"));
        let ended = bench.copy(&[image, "--vm", "m", "--overwrite"]).await;
        ended.assert_failed("in use");
    }
    // Somebody else attached it: it is not the engine's to detach.
    assert_eq!(bench.volume().await.state, VolumeState::InUse);
    assert_eq!(bench.processes(), Vec::<String>::new());
    bench.appliance.detach(volume.id).await;
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_full() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let small = Mount::memory(appliance.dir().join("small"), 8 << 20);
    appliance.setup.local_root = small.point().join("cloud");
    appliance.start().await;
    let bench = Bench::beside(appliance);
    let raw = bench.full_disk("disk.raw", SIZE);
    let refused = bench.refused(&[raw.to_str().unwrap()], "cannot copy disk").await;
    assert!(
        refused.report["hint"].as_str().unwrap().contains("room"),
        "{refused:#?}"
    );
    assert_eq!(refused.report["not_copied"].as_array().unwrap().len(), 1);
    assert_eq!(bench.volumes().await.len(), 1, "the volume is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_second_disk_is_refused_keeps_its_first_as_it_is() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let vmdk = bench.converted(&raw, "d.vmdk", &["vmdk", "-o", "subformat=streamOptimized"]);
    let members = ["one.vmdk", "two.vmdk"].map(|file| Member::new(file, fs::read(&vmdk).unwrap()));
    let ova = bench.ova("web.ova", &members);
    let image = ova.to_str().unwrap();
    let new = NewVolume {
        name: "small".into(),
        size_bytes: 1 << 20,
        source: Some(SourceDisk {
            vm: "web".into(),
            disk: format!("{image}#vmdisk1"),
        }),
    };
    let client = bench.appliance.client();
    client.create_volume_and_wait(&new, PATIENCE).await.unwrap();
    let refused = bench.refused(&[image], "the disk needs").await;
    assert_eq!(refused.report["not_copied"].as_array().unwrap().len(), 2);
    assert_eq!(
        bench.volumes().await.len(),
        1,
        "nothing was made for the first disk"
    );
}
