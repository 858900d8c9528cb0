//! What happens when something breaks, is refused, or is cancelled in the middle.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::super::*;
use crate::block::testing::{Random, Server, dirty_file, have, local, random_image, wait_until};
use crate::block::{BlockError, BlockRead, Cancel, InitialContent, LocalDisk, NbdError, NbdOptions};

fn target(directory: &Path, size: u64) -> LocalDisk {
    let path = directory.join("target");
    dirty_file(&path, size);
    local(&path, InitialContent::Unknown)
}

/// Options by which nothing is tried a second time.
fn impatient() -> NbdOptions {
    NbdOptions {
        reconnect_for: Duration::ZERO,
        ..NbdOptions::default()
    }
}

#[test]
fn a_larger_source_is_refused_before_the_first_write() {
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, (1 << 20) + 1, 1);
    let target = target(directory.path(), 1 << 20);
    let source = local(&image, InitialContent::Unknown);
    let error = copy(
        &source,
        &target,
        &CopyOptions::default(),
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(matches!(
        error,
        TransferError::TargetTooSmall {
            source_size: 1_048_577,
            target_size: 1_048_576
        }
    ));
    assert!(
        std::fs::read(directory.path().join("target"))
            .unwrap()
            .iter()
            .all(|byte| *byte == 0xaa)
    );
}

#[test]
fn a_read_error_names_its_place() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let arguments = [
        "--filter=error",
        "pattern",
        "32M",
        "error-pread=EIO",
        "error-pread-rate=20%",
    ];
    let server = Server::nbdkit(directory.path(), &arguments);
    let (source, target) = (server.connect(impatient()), target(directory.path(), 32 << 20));
    let error = copy(
        &source,
        &target,
        &CopyOptions::default(),
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap_err();
    let TransferError::Read {
        offset,
        length,
        source: BlockError::Nbd(NbdError::Request { source, .. }),
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(offset % (1 << 20) == 0 && length == 1 << 20, "{offset} {length}");
    assert_eq!(source.raw_os_error(), Some(5));
}

#[test]
fn write_zero_and_flush_errors_fail_the_copy() {
    if !have(&["nbdkit"]) {
        return;
    }
    for failing in ["pwrite", "zero", "flush"] {
        let directory = tempdir().unwrap();
        let image = directory.path().join("image");
        random_image(&image, 9 << 20, 2);
        let fail = |call: &str, usual: &str| {
            let does = if call == failing {
                "echo ENOSPC full >&2; exit 1"
            } else {
                usual
            };
            format!("{call}={does}")
        };
        let calls = [
            fail("pwrite", "cat > /dev/null"),
            fail("zero", "exit 0"),
            fail("flush", "exit 0"),
        ];
        let yes = [
            "get_size=echo 10M",
            "pread=exit 1",
            "can_write=exit 0",
            "can_zero=exit 0",
            "can_flush=exit 0",
        ];
        let arguments = [&["eval"], &yes[..], &calls.each_ref().map(String::as_str)].concat();
        let server = Server::nbdkit(directory.path(), &arguments);
        let target = server.connect(NbdOptions::default());
        let source = local(&image, InitialContent::Unknown);
        let error = copy(
            &source,
            &target,
            &CopyOptions::default(),
            &Progress::new(),
            &Cancel::new(),
        )
        .unwrap_err();
        // A pipelined request's failure may come to light in any later call, but it names itself.
        let (TransferError::Write { source, .. }
        | TransferError::Zero { source, .. }
        | TransferError::Flush { source }) = error
        else {
            panic!("{failing}: {error:?}");
        };
        let BlockError::Nbd(NbdError::Request { action, source, .. }) = source else {
            panic!("{source:?}")
        };
        assert_eq!(action, if failing == "pwrite" { "write" } else { failing });
        assert_eq!(source.raw_os_error(), Some(28));
    }
}

#[test]
fn failing_extents_only_cost_time() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, 5 << 20, 3);
    let path = image.to_str().unwrap();
    let arguments = [
        "--filter=error",
        "file",
        path,
        "error-extents=EIO",
        "error-extents-rate=100%",
    ];
    let server = Server::nbdkit(directory.path(), &arguments);
    let (source, target) = (
        server.connect(NbdOptions::default()),
        target(directory.path(), 5 << 20),
    );
    let report = copy(
        &source,
        &target,
        &CopyOptions::default(),
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap();
    assert_eq!(report.totals.bytes_read, 5 << 20);
    assert!(std::fs::read(&image).unwrap() == std::fs::read(directory.path().join("target")).unwrap());
}

/// Runs a copy that takes minutes if left alone; `disturb` gets control once bytes have moved.
fn disturbed(
    source: &dyn BlockRead,
    directory: &Path,
    cancel: &Cancel,
    disturb: impl FnOnce(),
) -> (TransferError, Duration) {
    let target = target(directory, source.size());
    let progress = Progress::new();
    let options = CopyOptions {
        rate: RateLimit::new(Some(4 << 20)),
        ..CopyOptions::default()
    };
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| copy(source, &target, &options, &progress, cancel));
        wait_until("the first bytes", || progress.snapshot().data_done > 0);
        let started = Instant::now();
        disturb();
        (copying.join().unwrap().unwrap_err(), started.elapsed())
    })
}

#[test]
fn a_server_killed_in_the_middle_is_an_error_soon() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let mut server = Server::nbdkit(directory.path(), &["pattern", "400M"]);
    let source = server.connect(impatient());
    let (error, took) = disturbed(&source, directory.path(), &Cancel::new(), || server.kill());
    assert!(matches!(error, TransferError::Read { .. }), "{error:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn cancelling_flushes_and_tells_what_was_done() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let server = Server::nbdkit(directory.path(), &["pattern", "400M"]);
    let source = server.connect(NbdOptions::default());
    let cancel = Cancel::new();
    let (error, took) = disturbed(&source, directory.path(), &cancel, || cancel.cancel());
    let TransferError::Cancelled(interrupted) = error else {
        panic!("{error:?}")
    };
    assert_eq!(interrupted.flush, FlushState::Flushed);
    assert!(interrupted.totals.bytes_written > 0 && interrupted.totals.bytes_written < 400 << 20);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_server_that_hangs_can_be_cancelled_and_times_out() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let arguments = ["--filter=delay", "pattern", "8M", "rdelay=3600"];
    for patience in [Duration::from_secs(3600), Duration::from_millis(300)] {
        let directory = directory.path().join(format!("{}", patience.as_millis()));
        std::fs::create_dir(&directory).unwrap();
        let mut server = Server::nbdkit(&directory, &arguments);
        let source = server.connect(NbdOptions {
            silence_timeout: patience,
            ..impatient()
        });
        let target = target(&directory, 8 << 20);
        let (cancel, progress) = (Cancel::new(), Progress::new());
        let started = Instant::now();
        let error = std::thread::scope(|scope| {
            let copying = scope.spawn(|| copy(&source, &target, &CopyOptions::default(), &progress, &cancel));
            wait_until("the copy", || progress.snapshot().phase == Phase::Copying);
            if patience > Duration::from_secs(1) {
                cancel.cancel();
            }
            copying.join().unwrap().unwrap_err()
        });
        match patience > Duration::from_secs(1) {
            true => assert!(error.is_cancelled(), "{error:?}"),
            false => assert!(
                matches!(
                    error,
                    TransferError::Read {
                        source: BlockError::Nbd(NbdError::Silent { .. }),
                        ..
                    }
                ),
                "{error:?}"
            ),
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        server.kill();
    }
}

#[test]
fn verifying_can_be_cancelled() {
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    std::fs::write(&image, Random(4).bytes(8 << 20)).unwrap();
    let disk = local(&image, InitialContent::Unknown);
    let root = RootDigest {
        kind: DigestKind::default(),
        size: 8 << 20,
        root: [0; 32],
    };
    let cancel = Cancel::new();
    let options = VerifyOptions {
        rate: RateLimit::new(Some(1 << 20)),
        ..VerifyOptions::default()
    };
    let progress = Progress::new();
    let error = std::thread::scope(|scope| {
        let verifying = scope.spawn(|| verify(&disk, Expected::Root(&root), &options, &progress, &cancel));
        wait_until("the first bytes", || progress.snapshot().data_done > 0);
        cancel.cancel();
        verifying.join().unwrap().unwrap_err()
    });
    assert!(error.is_cancelled(), "{error:?}");
}

#[test]
fn a_disk_smaller_than_its_digest_is_refused() {
    let directory = tempdir().unwrap();
    let disk = target(directory.path(), 4096);
    let root = RootDigest {
        kind: DigestKind::default(),
        size: 4097,
        root: [0; 32],
    };
    let options = VerifyOptions::default();
    let error = verify(
        &disk,
        Expected::Root(&root),
        &options,
        &Progress::new(),
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(matches!(
        error,
        TransferError::DiskTooSmall {
            expected: 4097,
            found: 4096
        }
    ));
}
