//! A disk in the middle of whose copy something happens.

use std::ops::Range;
use std::sync::Arc;

use migrate_engine::block::{
    BlockError, BlockRead, Cancel, Extent, ExtentKnowledge, ReadRequest, ReadWorker,
};
use migrate_engine::source::vsphere::FolderDisk;
use parking_lot::Mutex;

/// Does something when five reads have come through; others are under way then.
pub(crate) struct Tripwire {
    disk: FolderDisk,
    wire: Arc<Wire>,
}

struct Wire {
    passed: Mutex<usize>,
    at: usize,
    action: Box<dyn Fn() + Send + Sync>,
}

struct Tripped(Box<dyn ReadWorker>, Arc<Wire>);

impl Tripwire {
    pub(crate) fn new(disk: FolderDisk, action: impl Fn() + Send + Sync + 'static) -> Self {
        let wire = Wire {
            passed: Mutex::new(0),
            at: 5,
            action: Box::new(action),
        };
        let wire = Arc::new(wire);
        Self { disk, wire }
    }
}

impl BlockRead for Tripwire {
    fn size(&self) -> u64 {
        self.disk.size()
    }
    fn alignment(&self) -> u64 {
        self.disk.alignment()
    }
    fn max_workers(&self) -> usize {
        self.disk.max_workers()
    }
    fn extent_knowledge(&self) -> ExtentKnowledge {
        self.disk.extent_knowledge()
    }
    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        let worker = self.disk.open_worker(cancel)?;
        Ok(Box::new(Tripped(worker, Arc::clone(&self.wire))))
    }
}

impl ReadWorker for Tripped {
    fn depth(&self) -> usize {
        self.0.depth()
    }
    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        self.0.extents(range)
    }
    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        self.0.submit(request)
    }
    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        let done = self.0.complete()?;
        // Meanwhile the others wait here: what they read next comes after it.
        let mut passed = self.1.passed.lock();
        *passed += 1;
        if *passed == self.1.at {
            (self.1.action)();
        }
        Ok(done)
    }
}
