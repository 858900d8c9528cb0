//! What of a folder is a machine, and what only looks like one.

use std::os::unix::fs::symlink;
use std::path::Path;

use migrate_engine::model::MachineSpec;
use migrate_engine::source::{Category, FileSource, Source, SourceFailure, Wanted};

use crate::copying::{copy, said};
use crate::fixture::cycle;
use crate::folders::{Bench, options};
use crate::package::{Packing, files};

const SIZE: usize = 1 << 20;

async fn listed(source: &dyn Source) -> Vec<MachineSpec> {
    source.machines(&Wanted::default()).await.unwrap()
}

fn ids(machines: &[MachineSpec]) -> Vec<&str> {
    machines.iter().map(|machine| machine.id.as_str()).collect()
}

async fn refusal(source: &dyn Source, machine: &str) -> SourceFailure {
    source.machine(machine, None).await.unwrap_err()
}

#[tokio::test]
async fn a_package_is_one_machine_whatever_files_it_has() {
    let Some(bench) = Bench::new() else { return };
    let (one, two) = (vec![1; SIZE], vec![2; SIZE]);
    let package = files("web", &bench, &[(&one, Packing::Plain), (&two, Packing::Gzip)]);
    for (name, bytes) in package {
        bench.write(&name, bytes);
    }
    let source = bench.source();
    let machines = listed(&source).await;
    assert_eq!(ids(&machines), ["web.ovf"], "{machines:?}");
    let web = &machines[0];
    assert_eq!(web.problem, None);
    assert_eq!((web.name.as_str(), web.cpus, web.memory_mb), ("web", 2, 512));
    assert_eq!(web.firmware.as_deref(), Some("efi"));
    assert_eq!(web.path, bench.path("web.ovf").display().to_string());
    let card = &web.networks[0];
    assert_eq!(
        (
            card.network_name.as_deref(),
            card.adapter_type.as_str(),
            card.is_connected
        ),
        (Some("VM Network"), "VmxNet3", true)
    );
    let disks: Vec<_> = web
        .disks
        .iter()
        .map(|disk| (disk.id.as_str(), disk.capacity_bytes))
        .collect();
    assert_eq!(
        disks,
        [("vmdisk0", Some(SIZE as u64)), ("vmdisk1", Some(SIZE as u64))]
    );
    assert_eq!(bench.left(), [""; 0], "nothing is unpacked to look at it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_package_is_listed_and_refused_before_it_is_read() {
    let Some(bench) = Bench::new() else { return };
    let disk = vec![1; SIZE];
    for (name, bytes) in files("web", &bench, &[(&disk, Packing::Plain)]) {
        let altered = name.ends_with(".ovf");
        let document = String::from_utf8_lossy(&bytes).replace("VM Network", "VM network");
        bench.write(&name, if altered { document.into_bytes() } else { bytes });
    }
    let source = bench.source();
    let machine = source.machine("web", None).await.unwrap();
    let failure = source.freeze(&machine, &cycle("1")).await.err().unwrap();
    assert_eq!(failure.category, Category::Refused);
    assert!(said(&failure).contains("web.mf"), "{}", said(&failure));
    assert_eq!(bench.left(), [""; 0]);
}

#[tokio::test]
async fn names_content_and_kind_decide_what_is_listed() {
    let Some(bench) = Bench::new() else { return };
    let qcow2 = bench.image(&[3; SIZE], &["qcow2"]);
    bench.write("no-ending", &qcow2);
    bench.write("OTHER.QCOW2", &qcow2);
    bench.write(".hidden.qcow2", &qcow2);
    bench.write("notes.txt", b"text");
    bench.write("half.iso", b"no image");
    bench.write("odd \u{1b}[31m näme.qcow2", &qcow2);
    std::fs::create_dir(bench.path("folder.raw")).unwrap();
    let outside = bench.root().join("outside.raw");
    std::fs::write(&outside, vec![9; SIZE]).unwrap();
    symlink(&outside, bench.path("link.raw")).unwrap();
    symlink("/nowhere", bench.path("dangling.raw")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("pipe.raw"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let source = bench.source();
    let machines = listed(&source).await;
    let good: Vec<_> = machines
        .iter()
        .filter(|machine| machine.problem.is_none())
        .collect();
    let good: Vec<_> = good.iter().map(|machine| machine.id.as_str()).collect();
    assert_eq!(good, ["OTHER.QCOW2", "no-ending", "odd \u{1b}[31m näme.qcow2"]);
    let bad: Vec<_> = machines
        .iter()
        .filter(|machine| machine.problem.is_some())
        .collect();
    let bad: Vec<_> = bad.iter().map(|machine| machine.id.as_str()).collect();
    assert_eq!(bad, ["dangling.raw", "link.raw", "pipe.raw"]);
    let failure = refusal(&source, "link.raw").await;
    assert_eq!(failure.category, Category::Refused);
    assert!(
        failure.to_string().contains("leads out of its folder"),
        "{failure}"
    );
    // Named by itself, a link is followed: whoever named it means it.
    let alone = FileSource::new(bench.path("link.raw"), options(bench.root()));
    let machine = alone.machine("link", None).await.unwrap();
    assert_eq!(machine.id, "link.raw");
    assert_eq!(listed(&alone).await, [machine]);
}

#[tokio::test]
async fn extents_of_a_descriptor_are_no_machines() {
    let Some(bench) = Bench::new() else { return };
    let flat = vec![4; SIZE];
    let sectors = SIZE / 512;
    bench.write("db-flat.vmdk", &flat);
    bench.write(
        "db.vmdk",
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\
             RW {sectors} VMFS \"db-flat.vmdk\"\n"
        ),
    );
    let machines = listed(&bench.source()).await;
    assert_eq!(ids(&machines), ["db.vmdk"], "{machines:?}");
    assert_eq!(machines[0].problem, None);
}

#[tokio::test]
async fn a_folder_that_is_not_there_may_come_back() {
    let Some(bench) = Bench::new() else { return };
    let source = FileSource::new(bench.path("not-mounted"), options(bench.root()));
    let failure = refusal(&source, "web").await;
    assert_eq!(failure.category, Category::Unreachable);
    assert!(said(&failure).contains("mounted"), "{failure}");
    std::fs::create_dir(bench.path("not-mounted")).unwrap();
    assert_eq!(refusal(&source, "web").await.category, Category::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_to_while_it_is_read_is_not_believed() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.write("web.raw", vec![1; SIZE]);
    let source = bench.source();
    let machine = source.machine("web", None).await.unwrap();
    let frozen = source.freeze(&machine, &cycle("1")).await.unwrap();
    let reader = frozen.reader(&frozen.disks()[0], None).await.unwrap();
    copy(&*reader).unwrap();
    write_at(&path, SIZE / 2);
    let failure = frozen.check().await.unwrap_err();
    assert!(
        failure.to_string().contains("changed while it was read"),
        "{failure}"
    );
    assert_eq!(failure.category, Category::Other);
    // Another reader of it does not come to be.
    let again = frozen.reader(&frozen.disks()[0], None).await;
    assert_eq!(again.err().unwrap().category, Category::Other);
    // The release ends what is still read; what is read then fails.
    frozen.release().await.unwrap();
    assert!(copy(&*reader).is_err());
    assert!(frozen.check().await.is_err() && frozen.reader(&frozen.disks()[0], None).await.is_err());
    assert_eq!(bench.left(), [""; 0]);
}

fn write_at(path: &Path, offset: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"written", offset as u64).unwrap();
}
