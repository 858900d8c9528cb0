//! Local disks: identity through the descriptor, edges, zeroes, refusals.

use std::os::fd::OwnedFd;

use tempfile::tempdir;

use super::super::testing::{Loop, Random, dirty_file, have_loop_devices, local};
use super::super::{BufferPool, BufferSlice, ReadRequest};
use super::*;

fn slice(bytes: &[u8]) -> BufferSlice {
    let mut buffer = BufferPool::new(1, bytes.len(), 4096).take().unwrap();
    buffer.copy_from_slice(bytes);
    buffer.share(0..bytes.len())
}

fn read(disk: &LocalDisk, offset: u64, length: usize) -> Result<Vec<u8>, BlockError> {
    let buffer = BufferPool::new(1, length, 4096).take().unwrap();
    let mut worker = BlockRead::open_worker(disk, &Cancel::new())?;
    worker.submit(ReadRequest {
        offset,
        buffer,
        wanted: std::iter::once(0..length).collect(),
    })?;
    Ok(worker.complete()?.buffer.to_vec())
}

/// Random writes and zeroes of any alignment, one after the other, against a model in memory.
fn agrees_with_a_model(disk: &LocalDisk, size: usize, seed: u64) {
    let mut random = Random(seed);
    let mut model = vec![0xaa; size];
    let mut writer = BlockWrite::open_worker(disk, &Cancel::new()).unwrap();
    for _ in 0..60 {
        let mut pick = |limit: usize| usize::try_from(random.below(limit as u64)).unwrap();
        let grain = [1, 512, 4096][pick(3)];
        let start = pick(size) / grain * grain;
        let length = (pick(200_000) / grain * grain).min(size - start);
        let zero = pick(2) == 0;
        if zero {
            writer
                .write_zeroes(start as u64..(start + length) as u64)
                .unwrap();
            model[start..start + length].fill(0);
        } else {
            let bytes = random.bytes(length);
            writer.write(start as u64, slice(&bytes)).unwrap();
            model[start..start + length].copy_from_slice(&bytes);
        }
        // Unaligned requests share granules here, which the contract allows only one after the other and flushed.
        writer.flush().unwrap();
    }
    assert!(read(disk, 0, size).unwrap() == model);
    assert!(read(disk, 4096, size - 4096).unwrap() == model[4096..]);
    assert!(read(disk, 777, 10_000).unwrap() == model[777..10_777]);
}

#[test]
fn a_device_holds_what_was_written() {
    if !have_loop_devices() {
        return;
    }
    for (seed, options) in [
        (1, ["--direct-io=on", "--sector-size=512"]),
        (2, ["--direct-io=off", "--sector-size=4096"]),
    ] {
        let directory = tempdir().unwrap();
        let backing = directory.path().join("backing");
        let size = (1 << 20) + if seed == 1 { 512 } else { 4096 };
        dirty_file(&backing, size);
        let device = Loop::attach(&backing, &options);
        let disk = local(&device.0, InitialContent::Unknown);
        assert_eq!((disk.size(), disk.is_direct()), (size, true));
        agrees_with_a_model(&disk, usize::try_from(size).unwrap(), seed);
    }
}

#[test]
fn a_device_that_its_caller_holds_exclusively_can_be_used() {
    if !have_loop_devices() {
        return;
    }
    let directory = tempdir().unwrap();
    let backing = directory.path().join("backing");
    dirty_file(&backing, 1 << 20);
    let device = Loop::attach(&backing, &[]);
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let exclusive = rustix::fs::open(&device.0, flags, Mode::empty()).unwrap();
    let disk = LocalDisk::new(exclusive, LocalDiskOptions::default()).unwrap();
    assert_eq!(read(&disk, 0, 4096).unwrap(), vec![0xaa; 4096]);
    assert!(
        rustix::fs::open(&device.0, flags, Mode::empty()).is_err(),
        "the claim lives on"
    );
    drop(disk);
    assert!(
        rustix::fs::open(&device.0, flags, Mode::empty()).is_ok(),
        "and ends with the disk"
    );
}

#[test]
fn a_file_holds_what_was_written() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    dirty_file(&path, 1_000_003);
    agrees_with_a_model(&local(&path, InitialContent::Unknown), 1_000_003, 3);
    assert_eq!(path.metadata().unwrap().len(), 1_000_003);
}

#[test]
fn a_descriptor_follows_the_disk_not_the_name() {
    let directory = tempdir().unwrap();
    let (path, moved) = (directory.path().join("file"), directory.path().join("moved"));
    dirty_file(&path, 8192);
    let given: OwnedFd = std::fs::File::open(&path).unwrap().into();
    std::fs::rename(&path, &moved).unwrap();
    std::fs::write(&path, vec![0xbb; 4096]).unwrap();
    let disk = LocalDisk::new(given, LocalDiskOptions::default()).unwrap();
    assert_eq!(disk.size(), 8192);
    assert_eq!(read(&disk, 0, 8192).unwrap(), vec![0xaa; 8192]);
}

#[test]
fn refusals() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    dirty_file(&path, 8192);
    let open = |given: OwnedFd| LocalDisk::new(given, LocalDiskOptions::default());
    let read_only = open(std::fs::File::open(&path).unwrap().into()).unwrap();
    assert!(matches!(
        BlockWrite::open_worker(&read_only, &Cancel::new()),
        Err(BlockError::ReadOnly)
    ));
    assert!(matches!(
        open(std::fs::File::open(directory.path()).unwrap().into()),
        Err(BlockError::NotADisk)
    ));
    assert!(matches!(
        open(std::fs::File::open("/dev/null").unwrap().into()),
        Err(BlockError::NotADisk)
    ));
    let write_only = std::fs::File::options().write(true).open(&path).unwrap();
    assert!(matches!(open(write_only.into()), Err(BlockError::System { .. })));

    let disk = local(&path, InitialContent::Unknown);
    let mut writer = BlockWrite::open_worker(&disk, &Cancel::new()).unwrap();
    assert!(matches!(
        writer.write(8000, slice(&[1; 200])),
        Err(BlockError::OutOfRange { .. })
    ));
    assert!(matches!(
        writer.write_zeroes(0..8193),
        Err(BlockError::OutOfRange { .. })
    ));
    assert!(matches!(
        writer.write(u64::MAX, slice(&[1; 2])),
        Err(BlockError::OutOfRange { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), vec![0xaa; 8192]);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4096)
        .unwrap();
    assert!(matches!(
        read(&disk, 0, 8192),
        Err(BlockError::EndedEarly {
            offset: 4096,
            missing: 4096
        })
    ));
}

#[test]
fn extents_of_a_file() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 65536], 1 << 20).unwrap();
    let disk = local(&path, InitialContent::Unknown);
    let mut worker = BlockRead::open_worker(&disk, &Cancel::new()).unwrap();
    let extents = worker.extents(0..3 << 20).unwrap();
    crate::block::extent::check_coverage(&extents, &(0..3 << 20)).unwrap();
    let data = crate::block::extent::total(&extents, crate::block::ExtentKind::Data);
    assert!((65536..1 << 20).contains(&data), "{extents:?}");
    assert!(matches!(worker.complete(), Err(BlockError::NothingInFlight)));
}
