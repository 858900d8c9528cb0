//! Copies of a source's disks into memory, by the engine's own transfer.

use std::error::Error;
use std::fs::File;
use std::ops::Range;

use migrate_engine::block::{
    BlockError, BlockRead, BlockWrite, BufferSlice, Cancel, Durability, InitialContent, LocalDisk,
    LocalDiskOptions, WriteWorker,
};
use migrate_engine::source::Changes;
use migrate_engine::transfer::{Copy, CopyOptions, CopyReport, DiskDigest, Progress, TransferError};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::block_in_place;

/// A disk in memory.
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

struct Hand(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().clone()
    }
}

impl BlockWrite for Memory {
    fn size(&self) -> u64 {
        self.0.lock().len() as u64
    }
    fn alignment(&self) -> u64 {
        1
    }
    fn max_workers(&self) -> usize {
        4
    }
    fn initial_content(&self) -> InitialContent {
        InitialContent::Unknown
    }
    fn durability(&self) -> Durability {
        Durability::Durable
    }
    fn open_worker(&self, _: &Cancel) -> Result<Box<dyn WriteWorker>, BlockError> {
        Ok(Box::new(Hand(Arc::clone(&self.0))))
    }
}

impl WriteWorker for Hand {
    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        let start = at(offset);
        self.0.lock()[start..start + data.len()].copy_from_slice(&data);
        Ok(())
    }
    fn write_zeroes(&mut self, range: Range<u64>) -> Result<(), BlockError> {
        self.0.lock()[at(range.start)..at(range.end)].fill(0);
        Ok(())
    }
    fn drain(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Copies all of it over old bytes.
pub(crate) fn copy(source: &dyn BlockRead) -> Result<(Memory, CopyReport), TransferError> {
    let target = Memory::new(vec![0xaa; at(source.size())]);
    let options = CopyOptions::default();
    let report =
        block_in_place(|| Copy::new(source, &target, &options).run(&Progress::new(), &Cancel::new()))?;
    Ok((target, report))
}

/// Brings `target`, of which `base` is the digest, up to date as a replication does.
pub(crate) fn update(
    target: &Memory,
    base: &DiskDigest,
    source: &dyn BlockRead,
    changes: &Changes,
) -> CopyReport {
    let options = CopyOptions::default();
    let copy = Copy::new(source, target, &options);
    let copy = match changes {
        Changes::Since(ranges) => copy.changed(base, ranges),
        Changes::All { .. } => copy.differing(base),
    };
    block_in_place(|| copy.run(&Progress::new(), &Cancel::new())).unwrap()
}

/// The digest that a copy of these bytes has.
pub(crate) fn digest(bytes: &[u8]) -> DiskDigest {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let disk = File::open(file.path()).unwrap();
    let disk = LocalDisk::new(disk.into(), LocalDiskOptions::default()).unwrap();
    copy(&disk).unwrap().1.digest
}

/// An error with all its causes, as people and as developers see it.
pub(crate) fn said(error: &dyn Error) -> String {
    let mut text = format!("{error}; {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
