//! Local targets and sources that fail: full ones, and devices that are pulled out in the middle.

use std::error::Error;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use super::super::*;
use crate::block::testing::{
    Loop, Random, dirty_file, have, have_loop_devices, local, random_image, run, wait_until,
};
use crate::block::{BlockError, BlockRead, BlockWrite, Cancel, InitialContent};

const SIZE: u64 = 24 << 20;

/// A small file system in memory, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(directory: &Path) -> Self {
        let place = directory.join("small");
        std::fs::create_dir(&place).unwrap();
        let path = place.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=10m", "tmpfs", path]);
        Self(place)
    }

    fn grow(&self) {
        let path = self.0.to_str().unwrap();
        run("mount", &["-o", "remount,size=64m", path]);
    }

    /// A file of holes that has more bytes than there is room for.
    fn file(&self) -> PathBuf {
        let path = self.0.join("target");
        std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn binding() -> Binding {
    Binding {
        source: "an image".to_owned(),
        source_size: SIZE,
        target: "a target".to_owned(),
        target_size: SIZE,
        digest: DigestKind::default(),
    }
}

fn image(directory: &Path) -> PathBuf {
    let path = directory.join("image");
    std::fs::write(&path, Random(17).bytes(usize::try_from(SIZE).unwrap())).unwrap();
    path
}

/// Whether `wanted` is the error, or behind it.
fn has_cause(error: &TransferError, wanted: impl Fn(&BlockError) -> bool) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(this) = cause {
        if this.downcast_ref::<BlockError>().is_some_and(&wanted)
            || this
                .downcast_ref::<Box<BlockError>>()
                .is_some_and(|inner| wanted(inner))
        {
            return true;
        }
        cause = this.source();
    }
    false
}

fn number(error: &BlockError) -> Option<i32> {
    match error {
        BlockError::Transfer { source, .. } => source.raw_os_error(),
        _ => None,
    }
}

#[test]
fn a_copy_into_a_full_file_system_goes_on_from_its_last_checkpoint_once_there_is_room() {
    if !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, small) = (image(directory.path()), Small::mount(directory.path()));
    let (file, path) = (small.file(), directory.path().join("journal"));
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        local(&file, InitialContent::Unknown),
    );
    // Of what follows its last checkpoint a worker whose write failed believes nothing.
    let options = CopyOptions {
        checkpoints: Checkpoints {
            bytes: 1 << 20,
            ..Checkpoints::default()
        },
        ..CopyOptions::default()
    };
    let attempt = || {
        let (journal, durable) = Journal::open(&path, &binding()).unwrap();
        let copy = Copy::new(&source, &target, &options).remembered(&journal, &durable);
        copy.run(&Progress::new(), &Cancel::new())
    };
    let error = attempt().unwrap_err();
    assert!(
        has_cause(&error, |error| number(error) == Some(28)),
        "no space: {error:?}"
    );
    small.grow();
    let report = attempt().unwrap();
    let resumed = report.totals.bytes_resumed;
    assert!(resumed > 0 && resumed < SIZE, "{resumed}");
    run("cmp", &[image.to_str().unwrap(), file.to_str().unwrap()]);
}

#[test]
fn a_device_without_room_behind_it_is_not_taken_for_one_that_is_gone() {
    if !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, small) = (image(directory.path()), Small::mount(directory.path()));
    let device = Loop::attach(&small.file(), &["--direct-io=on"]);
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        local(&device.0, InitialContent::Unknown),
    );
    let options = CopyOptions::default();
    let error = copy(&source, &target, &options, &Progress::new(), &Cancel::new()).unwrap_err();
    assert!(has_cause(&error, |error| number(error).is_some()), "{error:?}");
    assert!(
        !has_cause(&error, |error| matches!(error, BlockError::DeviceChanged { .. })),
        "{error:?}"
    );
}

/// Copies slowly, and has the device of `backing` lose its last byte in the middle, as one that is pulled out does: the kernel
/// gives it no capacity any more.
fn pulled_out(
    source: &dyn BlockRead,
    target: &dyn BlockWrite,
    backing: &Path,
    device: &Path,
) -> TransferError {
    let (progress, cancel) = (Progress::new(), Cancel::new());
    let options = CopyOptions {
        rate: RateLimit::new(Some(8 << 20)),
        ..CopyOptions::default()
    };
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| copy(source, target, &options, &progress, &cancel));
        wait_until("some bytes", || progress.snapshot().bytes_written > 2 << 20);
        std::fs::File::create(backing).unwrap();
        run("losetup", &["--set-capacity", device.to_str().unwrap()]);
        copying.join().unwrap().unwrap_err()
    })
}

#[test]
fn a_target_that_is_pulled_out_is_said_to_be_gone() {
    if !(have_loop_devices() && have(&["losetup"])) {
        return;
    }
    let directory = tempdir().unwrap();
    let (image, backing) = (image(directory.path()), directory.path().join("backing"));
    dirty_file(&backing, SIZE);
    let device = Loop::attach(&backing, &[]);
    let (source, target) = (
        local(&image, InitialContent::Unknown),
        local(&device.0, InitialContent::Unknown),
    );
    let error = pulled_out(&source, &target, &backing, &device.0);
    assert!(
        has_cause(&error, |error| matches!(
            error,
            BlockError::DeviceChanged {
                before: SIZE,
                now: 0,
                ..
            }
        )),
        "{error:?}"
    );
    let told = error.source().unwrap().to_string();
    assert_eq!(
        told,
        format!("the device of {SIZE} bytes is gone: it was pulled out or detached")
    );
}

/// A device that is gone reads as its end: not as zeroes, and not as a source that was copied.
#[test]
fn a_source_that_is_pulled_out_is_no_end_of_the_copy() {
    if !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let (backing, target) = (directory.path().join("backing"), directory.path().join("target"));
    random_image(&backing, SIZE, 5);
    dirty_file(&target, SIZE);
    let device = Loop::attach(&backing, &[]);
    let (source, target) = (
        local(&device.0, InitialContent::Unknown),
        local(&target, InitialContent::Unknown),
    );
    let error = pulled_out(&source, &target, &backing, &device.0);
    assert!(matches!(error, TransferError::Read { .. }), "{error:?}");
    assert!(
        has_cause(&error, |error| matches!(
            error,
            BlockError::DeviceChanged { now: 0, .. }
        )),
        "{error:?}"
    );
}
