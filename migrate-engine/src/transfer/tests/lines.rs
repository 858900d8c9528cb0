//! Reads that fail and lines that are lost: once, and for ever.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::super::*;
use crate::block::testing::{Server, dirty_file, have, local, random_image, run, wait_until};
use crate::block::{BlockError, Cancel, InitialContent, NbdError, NbdOptions};

const SIZE: u64 = 9 << 20;

fn copied(source: &dyn crate::block::BlockRead, directory: &Path) -> Result<CopyReport, TransferError> {
    let target = directory.join("target");
    dirty_file(&target, SIZE);
    let target = local(&target, InitialContent::Unknown);
    let slowly = CopyOptions {
        rate: RateLimit::new(Some(8 << 20)),
        ..CopyOptions::default()
    };
    copy(source, &target, &slowly, &Progress::new(), &Cancel::new())
}

fn assert_equal(directory: &Path) {
    let paths = ["image", "target"].map(|name| directory.join(name).to_str().unwrap().to_owned());
    run("cmp", &[&paths[0], &paths[1]]);
}

/// An nbdkit whose reads do what `pread` says; it has `$image`.
fn scripted(directory: &Path, pread: &str) -> Server {
    let image = directory.join("image");
    random_image(&image, SIZE, 3);
    let pread = format!(
        "pread=image={}; notes={}; {pread}",
        image.display(),
        directory.display()
    );
    Server::nbdkit(directory, &["eval", &format!("get_size=echo {SIZE}"), &pread])
}

const READ: &str = "tail -c +$(($4 + 1)) $image | head -c $3";

#[test]
fn reads_that_fail_once_are_repeated() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let once =
        format!("if [ -e $notes/$4 ]; then {READ}; else touch $notes/$4; echo EIO no luck >&2; exit 1; fi");
    let server = scripted(directory.path(), &once);
    let report = copied(&server.connect(NbdOptions::default()), directory.path()).unwrap();
    assert_eq!(report.totals.bytes_read, SIZE);
    assert_equal(directory.path());
}

#[test]
fn a_read_that_fails_for_ever_is_tried_three_times_and_named() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let bad = 3 << 20;
    let never = format!(
        "if [ $4 != {bad} ]; then {READ}; else echo x >> $notes/tries; echo EIO bad sector >&2; exit 1; fi"
    );
    let server = scripted(directory.path(), &never);
    let error = copied(&server.connect(NbdOptions::default()), directory.path()).unwrap_err();
    let TransferError::Read {
        offset,
        source: BlockError::Nbd(NbdError::Request { source, .. }),
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((offset, source.raw_os_error()), (bad, Some(libc::EIO)));
    let tries = std::fs::read_to_string(directory.path().join("tries")).unwrap();
    assert_eq!(tries.lines().count(), 3);
}

/// Kills the source's server in the middle of a copy and does something else; how the copy ended.
fn through_a_loss(
    directory: &Path,
    options: NbdOptions,
    then: impl FnOnce() -> Option<Server> + Send,
) -> Result<CopyReport, TransferError> {
    let image = directory.join("image");
    random_image(&image, SIZE, 4);
    let mut server = Server::nbdkit(directory, &["file", image.to_str().unwrap()]);
    let source = server.connect(options);
    let (outcome, again) = std::thread::scope(|scope| {
        let copying = scope.spawn(|| copied(&source, directory));
        wait_until("a part of the copy", || {
            std::fs::read(directory.join("target"))
                .is_ok_and(|target| target.iter().any(|byte| *byte != 0xaa))
        });
        server.kill();
        std::fs::remove_file(&server.socket).unwrap();
        let again = then();
        (copying.join().unwrap(), again)
    });
    // nbdkit ends when its last client has gone.
    drop(source);
    drop(again);
    outcome
}

#[test]
fn a_line_that_comes_back_is_taken_up_again() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    let again = || {
        #[expect(clippy::disallowed_methods, reason = "the time in which nobody is there")]
        std::thread::sleep(Duration::from_millis(600));
        Some(Server::nbdkit(
            directory.path(),
            &["file", image.to_str().unwrap()],
        ))
    };
    let report = through_a_loss(directory.path(), NbdOptions::default(), again).unwrap();
    assert_equal(directory.path());
    let bytes = std::fs::read(&image).unwrap();
    let hasher = digest::BlockHasher::new(DigestKind::default(), SIZE);
    let blocks = (0u64..).zip(bytes.chunks(1 << 20).map(|block| hasher.block(block)));
    assert_eq!(report.digest.root(), hasher.finish(blocks).root());
}

#[test]
fn a_line_that_does_not_come_back_is_given_up() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let options = NbdOptions {
        reconnect_for: Duration::from_millis(700),
        ..NbdOptions::default()
    };
    let began = Instant::now();
    let error = through_a_loss(directory.path(), options, || None).unwrap_err();
    assert!(
        matches!(
            error,
            TransferError::Read {
                source: BlockError::Nbd(NbdError::Lost { .. }),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn another_disk_behind_the_same_address_is_noticed_by_its_size() {
    if !have(&["nbdkit"]) {
        return;
    }
    let directory = tempdir().unwrap();
    let other = || Some(Server::nbdkit(directory.path(), &["pattern", "10M"]));
    let error = through_a_loss(directory.path(), NbdOptions::default(), other).unwrap_err();
    assert!(
        matches!(
            error,
            TransferError::Read {
                source: BlockError::Nbd(NbdError::Changed { before: SIZE, .. }),
                ..
            }
        ),
        "{error:?}"
    );
}
