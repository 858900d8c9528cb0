//! Image files of every format, served and compared with the disk they were made from.

use super::{Bench, chain, compare, lives, tools_missing, wait_until};
use crate::source::{Backing, DiskKind, Format, SourceError};

const SIZE: usize = 3 << 20;

#[tokio::test]
async fn every_format_reads_back_bit_for_bit() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 1);
    for (name, options, format) in [
        ("a.qcow2", &["qcow2"][..], Format::Qcow2),
        ("v2.qcow2", &["qcow2", "-o", "compat=0.10"], Format::Qcow2),
        ("packed.qcow2", &["qcow2", "-c"], Format::Qcow2),
        (
            "sparse.vmdk",
            &["vmdk", "-o", "subformat=monolithicSparse"],
            Format::Vmdk,
        ),
        (
            "stream.vmdk",
            &["vmdk", "-o", "subformat=streamOptimized"],
            Format::Vmdk,
        ),
        (
            "flat.vmdk",
            &["vmdk", "-o", "subformat=monolithicFlat"],
            Format::Vmdk,
        ),
        (
            "extents.vmdk",
            &["vmdk", "-o", "subformat=twoGbMaxExtentFlat"],
            Format::Vmdk,
        ),
        (
            "sparse-extents.vmdk",
            &["vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
            Format::Vmdk,
        ),
        ("dynamic.vhd", &["vpc"], Format::Vhd),
        ("fixed.vhd", &["vpc", "-o", "subformat=fixed"], Format::Vhd),
        ("exact.vhd", &["vpc", "-o", "force_size=on"], Format::Vhd),
        ("dynamic.vhdx", &["vhdx"], Format::Vhdx),
        ("fixed.vhdx", &["vhdx", "-o", "subformat=fixed"], Format::Vhdx),
        ("copy.raw", &["raw"], Format::Raw),
    ] {
        let path = bench.image(&raw, name, options);
        let machine = bench
            .open(&path)
            .await
            .unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        let [disk] = &machine.disks[..] else {
            panic!("{name}: {machine:?}")
        };
        assert_eq!(
            (disk.kind, disk.disk_id.as_str()),
            (DiskKind::Image(format), name)
        );
        assert!(disk.capacity_bytes.unwrap() >= SIZE as u64, "{name}");
        assert_eq!(
            machine.notes.is_empty(),
            format != Format::Raw,
            "{name}: {:?}",
            machine.notes
        );
        bench.assert_serves(disk, &raw).await;
    }
    bench.assert_clean();
}

#[tokio::test]
async fn odd_paths_are_paths_and_nothing_else() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 2);
    let made = bench.image(&raw, "made.qcow2", &["qcow2"]);
    for name in [
        "a,b=c.qcow2",
        "nbd:x:1.qcow2",
        "json:{}.qcow2",
        "-o x.qcow2",
        "ü \"q\" %20.qcow2",
        "file:a",
    ] {
        let path = bench.path(name);
        std::fs::copy(&made, &path).unwrap();
        let machine = bench
            .open(&path)
            .await
            .unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        bench.assert_serves(&machine.disks[0], &raw).await;
    }
}

#[tokio::test]
async fn a_symbolic_link_that_a_person_named_is_followed_once() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 3);
    let made = bench.image(&raw, "made.qcow2", &["qcow2"]);
    std::os::unix::fs::symlink(&made, bench.path("latest.qcow2")).unwrap();
    let machine = bench.open(bench.path("latest.qcow2")).await.unwrap();
    assert_eq!(machine.disks[0].disk_id, "latest.qcow2");
    bench.assert_serves(&machine.disks[0], &raw).await;
}

#[tokio::test]
async fn the_asked_format_must_be_there_and_raw_is_always() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 4);
    let qcow2 = bench.image(&raw, "a.qcow2", &["qcow2"]);
    bench.options.format = Some(Format::Vmdk);
    assert!(matches!(
        bench.refused(&qcow2).await,
        SourceError::FormatMismatch { .. }
    ));
    bench.options.format = Some(Format::Raw);
    let machine = bench.open(&qcow2).await.unwrap();
    assert!(machine.notes.is_empty());
    bench.assert_serves(&machine.disks[0], &qcow2).await;
}

#[tokio::test]
async fn a_backing_chain_is_read_where_it_is_allowed() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 5);
    bench.image(&raw, "base.qcow2", &["qcow2"]);
    for (below, above) in [("base.qcow2", "middle.qcow2"), ("middle.qcow2", "top.qcow2")] {
        let above = bench.path(above);
        super::qemu_img(
            &[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "qcow2",
                "-b",
                below,
                above.to_str().unwrap(),
            ]
            .map(AsRef::as_ref),
        );
    }
    let top = bench.path("top.qcow2");
    assert!(matches!(
        bench.refused(&top).await,
        SourceError::BackingFile { .. }
    ));
    bench.options.backing = Backing::SameFolder;
    let machine = bench
        .open(&top)
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    bench.assert_serves(&machine.disks[0], &raw).await;
}

#[tokio::test]
async fn a_dropped_handle_leaves_nothing() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 6);
    let machine = bench.open(&raw).await.unwrap();
    let served = machine.disks[0].serve(&bench.options).await.unwrap();
    let (pid, socket) = (served.server_id().unwrap(), served.socket().unwrap().to_owned());
    let dir = std::fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&dir.permissions()) & 0o777,
        0o700
    );
    compare(&served, &raw);
    drop(served);
    tokio::task::spawn_blocking(move || wait_until("the server's death", || !lives(pid)))
        .await
        .unwrap();
    bench.assert_clean();
}

#[tokio::test]
async fn a_file_that_changed_is_not_served() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 7);
    let machine = bench.open(&raw).await.unwrap();
    let other = bench.raw("other.raw", SIZE, 8);
    std::fs::rename(other, &raw).unwrap();
    let error = machine.disks[0].serve(&bench.options).await.unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error:?}");
    bench.assert_clean();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 9);
    let machine = bench.open(&raw).await.unwrap();
    let long = bench.options.run_dir.join("x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let run_dir = std::mem::replace(&mut bench.options.run_dir, long.clone());
    assert!(matches!(
        machine.disks[0].serve(&bench.options).await,
        Err(SourceError::Spec { .. })
    ));
    bench.assert_clean();
    bench.options.run_dir = run_dir.join("missing");
    assert!(matches!(
        machine.disks[0].serve(&bench.options).await,
        Err(SourceError::Io { .. })
    ));
}

#[tokio::test]
async fn many_clients_read_at_once() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 10);
    let machine = bench.open(&raw).await.unwrap();
    let served = machine.disks[0].serve(&bench.options).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..usize::from(bench.options.connections) {
        let mut stream = tokio::net::UnixStream::connect(served.socket().unwrap())
            .await
            .unwrap();
        let mut greeting = [0; 16];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut greeting);
        tokio::time::timeout(std::time::Duration::from_secs(20), read)
            .await
            .expect("greeted")
            .unwrap();
        open.push(stream);
    }
}

#[tokio::test]
async fn an_nbd_export_is_passed_through() {
    let bench = Bench::new();
    let machine = bench.open("nbd://user@host:10810/disk").await.unwrap();
    let disk = &machine.disks[0];
    assert_eq!(
        (disk.disk_id.as_str(), disk.kind, disk.capacity_bytes),
        ("nbd://host:10810/disk", DiskKind::Remote, None)
    );
    let served = disk.serve(&bench.options).await.unwrap();
    assert_eq!(
        (served.uri(), served.size()),
        ("nbd://user@host:10810/disk", None)
    );
    served.stop().await.unwrap();
}

/// A loop device, detached when dropped.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = std::process::Command::new("losetup")
            .args(["-d", &self.0])
            .status();
        assert!(std::thread::panicking() || detached.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_block_device_is_a_raw_disk_and_nothing_else() {
    if tools_missing() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "root is missing in CI"
        );
        eprintln!("SKIPPED: loop devices need root");
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 11);
    let qcow2 = bench.image(&raw, "a.qcow2", &["qcow2"]);
    let attach = |file: &std::path::Path| {
        let output = std::process::Command::new("losetup")
            .args(["-f", "-r", "--show"])
            .arg(file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let device = attach(&raw);
    let machine = bench
        .open(&device.0)
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(machine.disks[0].capacity_bytes, Some(SIZE as u64));
    bench.assert_serves(&machine.disks[0], &raw).await;
    let image = attach(&qcow2);
    assert!(matches!(
        bench.refused(&image.0).await,
        SourceError::Unsupported { .. }
    ));
}
