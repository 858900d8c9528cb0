//! The images are what they claim to be, by the judgement of the tools that define the formats.

use super::super::ova;
use super::*;
use crate::command::find;
use crate::workspace::in_ci;

const SIZE: u64 = 48 << 20;

/// A folder of its own for a test, removed with what is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xt-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tools_are_there() -> bool {
    let missing: Vec<&str> = ["qemu-img", "sfdisk", "mkfs.ext4", "debugfs"]
        .into_iter()
        .filter(|tool| find(tool).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(!in_ci(), "missing: {missing:?}");
    eprintln!("SKIPPED: missing {missing:?}");
    false
}

#[test]
fn a_qcow2_has_a_table_and_a_sound_file_system_with_the_files() {
    if !tools_are_there() {
        return;
    }
    let scratch = Scratch::new("qcow2");
    let disk = build(&scratch.0, "vm", SIZE).unwrap();
    let qcow2 = scratch.0.join("vm.qcow2");
    convert(&disk.path, &qcow2, "qcow2", "").unwrap();
    output(command("qemu-img").arg("check").arg(&qcow2)).unwrap();
    let table = output(command("sfdisk").arg("--dump").arg(&disk.path)).unwrap();
    assert!(table.contains("start=        2048"), "{table}");

    // The file system alone, where e2fsprogs can look into it.
    let part = scratch.0.join("part");
    let bytes = fs::read(&disk.path).unwrap();
    fs::write(&part, &bytes[usize::try_from(PARTITION_OFFSET).unwrap()..]).unwrap();
    output(command("e2fsck").args(["-f", "-n"]).arg(&part)).unwrap();
    let tree = scratch.0.join("tree");
    fs::create_dir(&tree).unwrap();
    for folder in ["etc", "srv"] {
        output(
            command("debugfs")
                .arg("-R")
                .arg(format!("rdump {folder} {}", tree.display()))
                .arg(&part),
        )
        .unwrap();
    }
    content::verify(&tree, &disk.files).unwrap();
    fs::write(tree.join("srv/data.bin"), "other").unwrap();
    assert!(content::verify(&tree, &disk.files).is_err());
}

#[test]
fn an_ova_begins_with_its_descriptor_and_holds_equal_disks_that_the_manifest_vouches_for() {
    if !tools_are_there() {
        return;
    }
    let scratch = Scratch::new("ova");
    let disks = [
        build(&scratch.0, "system", SIZE).unwrap(),
        build(&scratch.0, "data", SIZE).unwrap(),
    ];
    let archive = ova::build(&scratch.0, "two", &disks).unwrap();
    let members = output(command("tar").arg("-tf").arg(&archive)).unwrap();
    assert_eq!(members, "two.ovf\ntwo.mf\ntwo-disk1.vmdk\ntwo-disk2.vmdk\n");
    assert_eq!(&fs::read(&archive).unwrap()[257..263], b"ustar\0");

    let unpacked = scratch.0.join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    output(command("tar").arg("-C").arg(&unpacked).arg("-xf").arg(&archive)).unwrap();
    let manifest = fs::read_to_string(unpacked.join("two.mf")).unwrap();
    assert_eq!(manifest.lines().count(), 3);
    for line in manifest.lines() {
        let (name, hash) = line.strip_prefix("SHA256(").unwrap().split_once(")= ").unwrap();
        assert_eq!(content::sha256(&unpacked.join(name)).unwrap(), hash, "{name}");
    }
    for (number, disk) in disks.iter().enumerate() {
        let vmdk = unpacked.join(format!("two-disk{}.vmdk", number + 1));
        let info = output(command("qemu-img").args(["info", "--output=json"]).arg(&vmdk)).unwrap();
        assert!(info.contains("streamOptimized"), "{info}");
        let back = scratch.0.join("back.raw");
        output(
            command("qemu-img")
                .args(["convert", "-O", "raw"])
                .arg(&vmdk)
                .arg(&back),
        )
        .unwrap();
        output(command("cmp").arg(&disk.path).arg(&back)).unwrap();
    }
}
