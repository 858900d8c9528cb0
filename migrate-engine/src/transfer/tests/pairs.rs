//! Every kind of source to every kind of target: the result is compared by a tool that is not ours.

use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::tempdir;

use super::super::*;
use crate::block::testing::{
    Loop, Random, Server, dirty_file, have, have_loop_devices, local, random_image, run,
};
use crate::block::{
    BlockRead, BlockWrite, Cancel, Durability, ExtentKnowledge, InitialContent, LocalDisk, NbdExport,
    NbdOptions,
};

fn moved(source: &dyn BlockRead, target: &dyn BlockWrite) -> CopyReport {
    let progress = Progress::new();
    let report = copy(source, target, &CopyOptions::default(), &progress, &Cancel::new()).unwrap();
    let snapshot = progress.snapshot();
    assert_eq!(snapshot.phase, Phase::Finished);
    assert_eq!(snapshot.data_done, snapshot.data_bytes);
    let totals = report.totals;
    assert_eq!(totals.bytes_read + totals.bytes_skipped, source.size());
    assert_eq!(totals.bytes_read, totals.bytes_written + totals.bytes_found_zero);
    report
}

fn verified(disk: &dyn BlockRead, digest: &DiskDigest) -> VerifyReport {
    let (options, progress) = (VerifyOptions::default(), Progress::new());
    let report = verify(disk, Expected::Disk(digest), &options, &progress, &Cancel::new()).unwrap();
    assert_eq!(report.bytes_read, digest.root().size);
    report
}

/// The first `size` bytes are equal, the rest of the target is zero.
fn assert_equal_by_cmp(source: &Path, target: &Path, size: u64, target_size: u64) {
    let paths = [source.to_str().unwrap(), target.to_str().unwrap()];
    run("cmp", &["--bytes", &size.to_string(), paths[0], paths[1]]);
    let skip = format!("0:{size}");
    run(
        "cmp",
        &[
            "--bytes",
            &(target_size - size).to_string(),
            "--ignore-initial",
            &skip,
            "/dev/zero",
            paths[1],
        ],
    );
}

fn digest_of_file(path: &Path) -> RootDigest {
    let bytes = std::fs::read(path).unwrap();
    let hasher = digest::BlockHasher::new(DigestKind::default(), bytes.len() as u64);
    let blocks = bytes.chunks(1 << 20).map(|block| hasher.block(block));
    *hasher.finish((0u64..).zip(blocks)).root()
}

/// Copies `source`, which serves the content of `image`, onto a dirty loop device and proves the result.
fn check_to_loop_device(directory: &Path, source: &dyn BlockRead, image: &Path) -> CopyReport {
    let target_size = source.size().next_multiple_of(512) + (3 << 20) + 512;
    let backing = directory.join("backing");
    dirty_file(&backing, target_size);
    let device = Loop::attach(&backing, &["--direct-io=on"]);
    let target = local(&device.0, InitialContent::Unknown);
    assert!(target.is_direct());
    let report = moved(source, &target);
    assert_eq!(report.durability, Durability::Durable);
    assert!(verified(&target, &report.digest).is_equal());
    assert_eq!(*report.digest.root(), digest_of_file(image));
    assert_equal_by_cmp(image, &device.0, source.size(), target_size);
    report
}

const SIZE: u64 = (24 << 20) + 123_456;

#[test]
fn nbdkit_to_a_loop_device() {
    if !have(&["nbdkit"]) || !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, SIZE + 77, 1);
    let server = Server::nbdkit(directory.path(), &["file", image.to_str().unwrap()]);
    let source = server.connect(NbdOptions::default());
    let report = check_to_loop_device(directory.path(), &source, &image);
    assert_eq!(
        (report.workers, report.extent_knowledge),
        (usual_workers(), ExtentKnowledge::Known)
    );
    assert!(report.totals.bytes_skipped > 0 && report.totals.bytes_found_zero > 0);
}

#[test]
fn hidden_extents_are_found_by_looking() {
    if !have(&["nbdkit"]) || !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, SIZE, 2);
    let server = Server::nbdkit(
        directory.path(),
        &["--filter=noextents", "file", image.to_str().unwrap()],
    );
    let report = check_to_loop_device(directory.path(), &server.connect(NbdOptions::default()), &image);
    assert_eq!(report.totals.bytes_skipped, 0);
    assert!(report.totals.bytes_found_zero > 1 << 20);
}

#[test]
fn replies_out_of_order_and_small_server_limits() {
    if !have(&["nbdkit"]) || !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, 8 << 20, 3);
    let policy = [
        "--filter=blocksize-policy",
        "blocksize-minimum=4096",
        "blocksize-maximum=256K",
    ];
    let arguments = [
        policy[0],
        "--filter=delay",
        "file",
        image.to_str().unwrap(),
        policy[1],
        policy[2],
    ];
    let strict = [
        &arguments[..],
        &[
            "blocksize-preferred=4096",
            "blocksize-error-policy=error",
            "rdelay=3ms",
        ],
    ]
    .concat();
    let server = Server::nbdkit(directory.path(), &strict);
    check_to_loop_device(directory.path(), &server.connect(NbdOptions::default()), &image);
}

#[test]
fn qemu_nbd_raw_and_qcow2() {
    if !have(&["qemu-nbd", "qemu-img"]) || !have_loop_devices() {
        return;
    }
    let all = usual_workers();
    for (format, shared, workers) in [("raw", "8", all), ("qcow2", "8", all), ("qcow2", "1", 1)] {
        let directory = tempdir().unwrap();
        let raw = directory.path().join("raw");
        random_image(&raw, 20 << 20, 4);
        let image = directory.path().join("image");
        let (from, to) = (raw.to_str().unwrap(), image.to_str().unwrap());
        run("qemu-img", &["convert", "-f", "raw", "-O", format, from, to]);
        let arguments = [
            "--persistent",
            "--read-only",
            "--format",
            format,
            "--shared",
            shared,
        ];
        let server = Server::qemu_nbd(directory.path(), &arguments, &image);
        let source = server.connect(NbdOptions::default());
        let report = check_to_loop_device(directory.path(), &source, &raw);
        assert_eq!(report.workers, workers);
        assert!(report.totals.bytes_skipped > 0);
    }
}

#[test]
fn nbd_server_with_simple_replies() {
    if !have(&["nbd-server"]) || !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, 10 << 20, 5);
    let server = Server::nbd_server(directory.path(), &image, "readonly = true");
    // Undaemonised it serves one client at a time, yet it claims multi-conn.
    let source = server.connect(NbdOptions::default());
    let report = check_to_loop_device(directory.path(), &source, &image);
    assert_eq!(report.extent_knowledge, ExtentKnowledge::Hidden);
}

#[test]
fn file_to_file_keeps_holes() {
    let directory = tempdir().unwrap();
    let (image, copied) = (directory.path().join("image"), directory.path().join("copy"));
    for (seed, initial) in [(6, InitialContent::Unknown), (7, InitialContent::Zero)] {
        random_image(&image, SIZE, seed);
        let target_size = SIZE + 5_000_001;
        dirty_file(
            &copied,
            if initial == InitialContent::Zero {
                0
            } else {
                target_size
            },
        );
        std::fs::File::options()
            .write(true)
            .open(&copied)
            .unwrap()
            .set_len(target_size)
            .unwrap();
        let (source, target) = (local(&image, InitialContent::Unknown), local(&copied, initial));
        let report = moved(&source, &target);
        assert!(report.totals.bytes_skipped > 0);
        assert_eq!(report.totals.bytes_zeroed == 0, initial == InitialContent::Zero);
        assert!(verified(&target, &report.digest).is_equal());
        assert_equal_by_cmp(&image, &copied, SIZE, target_size);
        let allocated = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) * 512;
        assert!(
            allocated(&copied) <= report.totals.bytes_written + (1 << 20),
            "holes were filled"
        );
    }
}

#[test]
fn the_tail_can_be_left_alone() {
    let directory = tempdir().unwrap();
    let (image, copied) = (directory.path().join("image"), directory.path().join("copy"));
    random_image(&image, 1_500_001, 8);
    dirty_file(&copied, 3 << 20);
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        local(&copied, InitialContent::Unknown),
    );
    let options = CopyOptions {
        tail: Tail::Leave,
        ..CopyOptions::default()
    };
    copy(&source, &target, &options, &Progress::new(), &Cancel::new()).unwrap();
    let (before, after) = (std::fs::read(&image).unwrap(), std::fs::read(&copied).unwrap());
    assert!(after[..before.len()] == before[..]);
    assert!(after[before.len()..].iter().all(|byte| *byte == 0xaa));
}

fn check_through_server(server: &Server, image: &Path, backing: &Path, target_size: u64) {
    let source = local(image, InitialContent::Unknown);
    let target = server.connect(NbdOptions::default());
    assert_eq!(BlockWrite::size(&target), target_size);
    let report = moved(&source, &target);
    assert!(verified(&target, &report.digest).is_equal());
    drop(target);
    assert_equal_by_cmp(image, backing, source.size(), target_size);
}

#[test]
fn to_nbd_targets() {
    if !have(&["nbdkit", "qemu-nbd", "qemu-storage-daemon", "nbd-server"]) {
        return;
    }
    let target_size = SIZE.next_multiple_of(4096) + (2 << 20);
    type Start = fn(&Path, &Path) -> Server;
    let servers: [(&str, Start); 7] = [
        ("nbdkit", |d, b| Server::nbdkit(d, &["file", b.to_str().unwrap()])),
        ("nbdkit without zeroing", |d, b| {
            Server::nbdkit(d, &["--filter=nozero", "file", b.to_str().unwrap()])
        }),
        ("nbdkit with 4 KiB blocks", |d, b| {
            let policy = [
                "blocksize-minimum=4096",
                "blocksize-preferred=4096",
                "blocksize-maximum=128K",
            ];
            let file = [
                "--filter=blocksize-policy",
                "file",
                b.to_str().unwrap(),
                "blocksize-error-policy=error",
            ];
            Server::nbdkit(d, &[&file[..], &policy[..]].concat())
        }),
        ("nbdkit by FUA", |d, b| {
            Server::nbdkit(
                d,
                &["--filter=fua", "file", b.to_str().unwrap(), "fuamode=emulate"],
            )
        }),
        ("qemu-nbd", |d, b| {
            Server::qemu_nbd(d, &["--persistent", "--format=raw", "--shared=8"], b)
        }),
        ("qemu-storage-daemon", |d, b| Server::storage_daemon(d, b)),
        ("nbd-server", |d, b| Server::nbd_server(d, b, "flush = true")),
    ];
    for (seed, (name, start)) in (20u64..).zip(servers) {
        eprintln!("target: {name}");
        let directory = tempdir().unwrap();
        let (image, backing) = (directory.path().join("image"), directory.path().join("backing"));
        random_image(&image, SIZE, seed);
        dirty_file(&backing, target_size);
        let server = start(directory.path(), &backing);
        check_through_server(&server, &image, &backing, target_size);
    }
}

#[test]
fn a_flush_that_nobody_offers_is_said() {
    if !have(&["nbd-server"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, backing) = (directory.path().join("image"), directory.path().join("backing"));
    random_image(&image, 1 << 20, 9);
    dirty_file(&backing, 1 << 20);
    let server = Server::nbd_server(directory.path(), &backing, "");
    let target = server.connect(NbdOptions::default());
    let report = moved(&local(&image, InitialContent::Unknown), &target);
    assert_eq!(report.durability, Durability::NotOffered);
}

#[test]
fn a_server_that_ends_with_its_last_client_survives_until_the_verification() {
    if !have(&["qemu-nbd"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, backing) = (directory.path().join("image"), directory.path().join("backing"));
    random_image(&image, 3 << 20, 10);
    dirty_file(&backing, 3 << 20);
    let server = Server::qemu_nbd(directory.path(), &["--format=raw"], &backing);
    check_through_server(&server, &image, &backing, 3 << 20);
}

#[test]
fn an_empty_disk_and_huge_holes_cost_nothing() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let copied = directory.path().join("copy");
    for size in ["0", "5000000000000"] {
        let server = Server::nbdkit(directory.path(), &["memory", size]);
        let source = server.connect(NbdOptions::default());
        std::fs::File::create(&copied)
            .unwrap()
            .set_len(BlockRead::size(&source))
            .unwrap();
        let target = local(&copied, InitialContent::Zero);
        let report = moved(&source, &target);
        assert_eq!(report.totals.bytes_read, 0);
        assert_eq!(report.totals.bytes_skipped, BlockRead::size(&source));
        std::fs::remove_file(&server.socket).unwrap();
    }
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let directory = tempdir().unwrap();
    let (image, copied) = (directory.path().join("image"), directory.path().join("copy"));
    let mut random = Random(11);
    std::fs::write(&image, random.bytes((6 << 20) + 10)).unwrap();
    std::fs::write(&copied, vec![0; (6 << 20) + 10]).unwrap();
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        local(&copied, InitialContent::Zero),
    );
    let report = moved(&source, &target);
    let file = std::fs::File::options().write(true).open(&copied).unwrap();
    for place in [(2 << 20) + 5, (3 << 20) + 5, (6 << 20) + 9] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"\0\x01\0", place - 1).unwrap();
    }
    file.set_len((6 << 20) + 10).unwrap();
    let report = verified(&target, &report.digest);
    assert!(!report.is_equal());
    assert_eq!(report.differing_blocks, Some(3));
    assert_eq!(
        report.first_mismatches,
        vec![2 << 20..4 << 20, 6 << 20..(6 << 20) + 10]
    );
    let (options, root) = (VerifyOptions::default(), report.expected);
    let again = verify(
        &target,
        Expected::Root(&root),
        &options,
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap();
    assert!(!again.is_equal());
    assert_eq!(again.differing_blocks, None);
}

/// The first and the last block are always in a sample; what was not read is not said to differ.
#[test]
fn a_sample_is_a_part_and_finds_what_is_in_it() {
    let directory = tempdir().unwrap();
    let (size, image) = (64_u64 << 20, directory.path().join("image"));
    random_image(&image, size - 5, 8);
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        directory.path().join("target"),
    );
    dirty_file(&target, size - 5);
    let disk = local(&target, InitialContent::Unknown);
    let digest = moved(&source, &disk).digest;
    let look = |percent| {
        let options = VerifyOptions {
            coverage: Coverage::Sample(percent),
            ..VerifyOptions::default()
        };
        verify(
            &disk,
            Expected::Disk(&digest),
            &options,
            &Progress::new(),
            &Cancel::new(),
        )
        .unwrap()
    };
    let (few, half, all) = (look(0), look(50), look(100));
    assert!([&few, &half, &all].iter().all(|report| report.is_equal()));
    assert_eq!((few.bytes_read, all.bytes_read), ((2 << 20) - 5, size - 5));
    assert!(
        (12 << 20..52 << 20).contains(&half.bytes_read),
        "{}",
        half.bytes_read
    );

    let file = std::fs::File::options().write(true).open(&target).unwrap();
    for at in [size - 6, 30 << 20] {
        file.write_all_at(&[0x11], at).unwrap();
    }
    let few = look(0);
    assert_eq!((few.is_equal(), few.differing_blocks), (false, Some(1)));
    assert_eq!(few.first_mismatches.first(), Some(&(63 << 20..size - 5)));
    assert_eq!(look(100).differing_blocks, Some(2));
}

#[test]
fn holes_may_be_trusted_when_verifying() {
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, SIZE, 12);
    let disk: LocalDisk = local(&image, InitialContent::Unknown);
    let root = digest_of_file(&image);
    let options = VerifyOptions {
        coverage: Coverage::TrustZeroExtents,
        ..VerifyOptions::default()
    };
    let report = verify(
        &disk,
        Expected::Root(&root),
        &options,
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap();
    assert!(report.is_equal());
    assert!(report.bytes_read < SIZE);
}

#[test]
fn small_and_odd_sizes() {
    let directory = tempdir().unwrap();
    let (image, copied) = (directory.path().join("image"), directory.path().join("copy"));
    let mut random = Random(13);
    let odd = [
        0,
        1,
        511,
        4095,
        4096,
        4097,
        65_535,
        65_537,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
    ];
    let sizes = odd
        .into_iter()
        .chain((0..40).map(|_| random.below(3 << 20)))
        .collect::<Vec<_>>();
    for (seed, size) in (100u64..).zip(sizes) {
        random_image(&image, size, seed);
        let target_size = size + [0, 1, 4096, 100_001][usize::try_from(seed % 4).unwrap()];
        dirty_file(&copied, target_size);
        let (source, target) = (
            local(&image, InitialContent::Unknown),
            local(&copied, InitialContent::Unknown),
        );
        let report = moved(&source, &target);
        assert!(verified(&target, &report.digest).is_equal());
        assert_eq!(*report.digest.root(), digest_of_file(&image), "{size}");
        assert_equal_by_cmp(&image, &copied, size, target_size);
    }
}

#[test]
fn by_tcp() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, copied) = (directory.path().join("image"), directory.path().join("copy"));
    random_image(&image, SIZE, 14);
    dirty_file(&copied, SIZE);
    let server = Server::nbdkit(directory.path(), &["file", image.to_str().unwrap()]);
    drop(server.connect(NbdOptions::default()));
    // A relay has a port of its own without a race for a free one.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("nbd://{}/", listener.local_addr().unwrap());
    let socket = server.socket.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().take(4) {
            relay(
                client.unwrap(),
                std::os::unix::net::UnixStream::connect(&socket).unwrap(),
            );
        }
    });
    let source = NbdExport::connect(uri.parse().unwrap(), NbdOptions::default()).unwrap();
    let target = local(&copied, InitialContent::Unknown);
    assert_eq!(moved(&source, &target).workers, usual_workers());
    assert_equal_by_cmp(&image, &copied, SIZE, SIZE);
}

fn relay(client: std::net::TcpStream, server: std::os::unix::net::UnixStream) {
    let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
    let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Write);
    });
}
