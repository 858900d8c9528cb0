//! A copy that ends anywhere goes on where its journal says, and the result is the source to the byte.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::tempdir;

use super::super::*;
use crate::block::testing::{Random, local, random_image};
use crate::block::{
    BlockError, BlockRead, BlockWrite, BufferSlice, Cancel, Durability, ExtentKnowledge, InitialContent,
    LocalDisk, ReadRequest, ReadWorker, WriteWorker,
};

const SIZE: u64 = (11 << 20) + 70_000;
const TARGET_SIZE: u64 = SIZE.next_multiple_of(4096) + (1 << 20);

/// A disk that loses, when the power goes, what its worker has not flushed; the power goes after so many calls.
#[derive(Clone)]
struct Volatile {
    stable: Arc<Mutex<Vec<u8>>>,
    calls_left: Arc<AtomicI64>,
    believes: bool,
}

struct VolatileWorker {
    disk: Volatile,
    unflushed: Vec<(u64, Vec<u8>)>,
}

impl Volatile {
    fn dirty() -> Self {
        Self {
            stable: Arc::new(Mutex::new(vec![0xaa; usize::try_from(TARGET_SIZE).unwrap()])),
            calls_left: Arc::new(AtomicI64::new(i64::MAX)),
            believes: false,
        }
    }

    fn call(&self, action: &'static str) -> Result<(), BlockError> {
        if self.calls_left.fetch_sub(1, SeqCst) > 0 {
            return Ok(());
        }
        let source = std::io::Error::other("the power is gone");
        Err(BlockError::System { action, source })
    }
}

impl BlockWrite for Volatile {
    fn size(&self) -> u64 {
        TARGET_SIZE
    }
    fn alignment(&self) -> u64 {
        4096
    }
    fn max_workers(&self) -> usize {
        3
    }
    fn initial_content(&self) -> InitialContent {
        InitialContent::Unknown
    }
    fn durability(&self) -> Durability {
        Durability::Durable
    }
    fn open_worker(&self, _: &Cancel) -> Result<Box<dyn WriteWorker>, BlockError> {
        Ok(Box::new(VolatileWorker {
            disk: self.clone(),
            unflushed: Vec::new(),
        }))
    }
}

impl WriteWorker for VolatileWorker {
    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        self.disk.call("write")?;
        self.unflushed.push((offset, data.to_vec()));
        Ok(())
    }
    fn write_zeroes(&mut self, range: std::ops::Range<u64>) -> Result<(), BlockError> {
        self.disk.call("zero")?;
        let length = usize::try_from(range.end - range.start).unwrap();
        self.unflushed.push((range.start, vec![0; length]));
        Ok(())
    }
    fn drain(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), BlockError> {
        self.disk.call("flush")?;
        if self.disk.believes {
            return Ok(());
        }
        let mut stable = self.disk.stable.lock();
        for (offset, bytes) in self.unflushed.drain(..) {
            let at = usize::try_from(offset).unwrap();
            stable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

fn binding() -> Binding {
    Binding {
        source: "image 1".into(),
        source_size: SIZE,
        target: "disk 1".into(),
        target_size: TARGET_SIZE,
        digest: DigestKind::default(),
    }
}

fn options() -> CopyOptions {
    CopyOptions {
        workers: 3,
        checkpoints: Checkpoints {
            every: Duration::from_secs(3600),
            bytes: 600_000,
        },
        ..CopyOptions::default()
    }
}

/// Copies with a journal until the power goes, or to the end.
fn attempt(source: &LocalDisk, target: &Volatile, journal: &Path, calls: i64) -> Option<CopyReport> {
    target.calls_left.store(calls, SeqCst);
    let (journal, durable) = Journal::open(journal, &binding()).unwrap();
    let (progress, cancel) = (Progress::new(), Cancel::new());
    let copied = Copy::new(source, target, &options())
        .remembered(&journal, &durable)
        .run(&progress, &cancel);
    let report = copied.ok()?;
    let totals = report.totals;
    assert_eq!(totals.bytes_read, progress.snapshot().data_bytes);
    assert_eq!(totals.bytes_resumed, durable.data_bytes());
    Some(report)
}

/// Copies through so many power cuts at random moments; how much the last attempt found done, and whether the result is
/// the source.
fn through_cuts(seed: u64, cuts: usize, believes: bool) -> (u64, bool) {
    let directory = tempdir().unwrap();
    let (image, journal) = (directory.path().join("image"), directory.path().join("journal"));
    random_image(&image, SIZE, seed);
    let source = local(&image, InitialContent::Unknown);
    let mut target = Volatile::dirty();
    target.believes = believes;
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
    for _ in 0..cuts {
        let calls = i64::try_from(random.below(90)).unwrap();
        if attempt(&source, &target, &journal, calls).is_some() {
            break;
        }
    }
    let report = attempt(&source, &target, &journal, i64::MAX).unwrap();
    let expected = std::fs::read(&image).unwrap();
    let stable = target.stable.lock();
    let (copied, tail) = stable.split_at(expected.len());
    let is_equal = *copied == expected && tail.iter().all(|byte| *byte == 0);
    let hasher = digest::BlockHasher::new(DigestKind::default(), SIZE);
    let blocks = (0u64..).zip(expected.chunks(1 << 20).map(|block| hasher.block(block)));
    assert_eq!(report.digest.root(), hasher.finish(blocks).root(), "seed {seed}");
    (report.totals.bytes_resumed, is_equal)
}

#[test]
fn a_hundred_copies_through_power_cuts_are_the_source_to_the_byte() {
    let mut helped = 0;
    for seed in 1..=100 {
        let (resumed, is_equal) = through_cuts(seed, 4, false);
        assert!(is_equal, "seed {seed}");
        helped += u64::from(resumed > 0);
    }
    assert!(
        helped > 60,
        "the journal saved something in {helped} of 100 copies only"
    );
}

/// The same target with a flush that does nothing: what this test is there to find is found.
#[test]
fn a_flush_that_lies_is_noticed_by_this_very_test() {
    assert!((1..=10).any(|seed| !through_cuts(seed, 4, true).1));
}

/// A source that counts the bytes it is asked for.
struct Counting<'a>(&'a LocalDisk, Arc<AtomicI64>);
struct CountingWorker(Box<dyn ReadWorker>, Arc<AtomicI64>);

impl BlockRead for Counting<'_> {
    fn size(&self) -> u64 {
        BlockRead::size(self.0)
    }
    fn alignment(&self) -> u64 {
        BlockRead::alignment(self.0)
    }
    fn max_workers(&self) -> usize {
        1
    }
    fn extent_knowledge(&self) -> ExtentKnowledge {
        self.0.extent_knowledge()
    }
    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        let worker = BlockRead::open_worker(self.0, cancel)?;
        Ok(Box::new(CountingWorker(worker, Arc::clone(&self.1))))
    }
}

impl ReadWorker for CountingWorker {
    fn depth(&self) -> usize {
        self.0.depth()
    }
    fn extents(&mut self, range: std::ops::Range<u64>) -> Result<Vec<crate::block::Extent>, BlockError> {
        self.0.extents(range)
    }
    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        let bytes: usize = request.wanted.iter().map(std::ops::Range::len).sum();
        self.1.fetch_add(i64::try_from(bytes).unwrap(), SeqCst);
        self.0.submit(request)
    }
    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        self.0.complete()
    }
}

#[test]
fn a_finished_copy_done_again_reads_and_writes_nothing() {
    let directory = tempdir().unwrap();
    let (image, journal) = (directory.path().join("image"), directory.path().join("journal"));
    random_image(&image, SIZE, 7);
    let source = local(&image, InitialContent::Unknown);
    let target = Volatile::dirty();
    let first = attempt(&source, &target, &journal, i64::MAX).unwrap();
    let asked = Arc::new(AtomicI64::new(0));
    let counting = Counting(&source, Arc::clone(&asked));
    // Flushes are all that may happen.
    target.calls_left.store(3, SeqCst);
    let (journal, durable) = Journal::open(&journal, &binding()).unwrap();
    let (progress, cancel) = (Progress::new(), Cancel::new());
    let options = options();
    let again = Copy::new(&counting, &target, &options);
    let again = again
        .remembered(&journal, &durable)
        .run(&progress, &cancel)
        .unwrap();
    assert_eq!(asked.load(SeqCst), 0);
    assert_eq!(again.digest.root(), first.digest.root());
    assert_eq!((again.totals.bytes_written, again.totals.bytes_zeroed), (0, 0));
    let snapshot = progress.snapshot();
    assert_eq!(
        (snapshot.data_bytes, snapshot.data_resumed),
        (0, first.totals.bytes_written)
    );
}

/// A cancel ends with a flush and a journal that knows all that was moved: on a target that loses everything else, and on a
/// real one, whose writes the kernel may still be at work on.
#[test]
fn a_cancelled_copy_goes_on_from_its_last_byte() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("target");
    crate::block::testing::dirty_file(&file, TARGET_SIZE);
    let volatile = Volatile::dirty();
    goes_on_after_a_cancel(&volatile);
    goes_on_after_a_cancel(&local(&file, InitialContent::Unknown));
}

fn goes_on_after_a_cancel(target: &dyn BlockWrite) {
    let directory = tempdir().unwrap();
    let (image, path) = (directory.path().join("image"), directory.path().join("journal"));
    random_image(&image, SIZE, 9);
    let source = local(&image, InitialContent::Unknown);
    let (progress, cancel) = (Progress::new(), Cancel::new());
    let slow = CopyOptions {
        rate: RateLimit::new(Some(4 << 20)),
        ..options()
    };
    let moved = std::thread::scope(|scope| {
        let (journal, durable) = Journal::open(&path, &binding()).unwrap();
        let (source, slow, progress, cancel) = (&source, &slow, &progress, &cancel);
        let copying = scope.spawn(move || {
            let copy = Copy::new(source, target, slow).remembered(&journal, &durable);
            copy.run(progress, cancel).unwrap_err()
        });
        crate::block::testing::wait_until("some of it to be moved", || {
            progress.snapshot().bytes_written > 2 << 20
        });
        cancel.cancel();
        let TransferError::Cancelled(interrupted) = copying.join().unwrap() else {
            panic!("it was cancelled")
        };
        assert_eq!(interrupted.flush, FlushState::Flushed);
        interrupted.totals.bytes_written
    });
    let (journal, durable) = Journal::open(&path, &binding()).unwrap();
    assert_eq!(durable.data_bytes(), moved);
    let (progress, cancel, options) = (Progress::new(), Cancel::new(), options());
    let copy = Copy::new(&source, target, &options).remembered(&journal, &durable);
    let report = copy.run(&progress, &cancel).unwrap();
    assert_eq!(report.totals.bytes_resumed, moved);
    let bytes = std::fs::read(&image).unwrap();
    let hasher = digest::BlockHasher::new(DigestKind::default(), SIZE);
    let blocks = (0u64..).zip(bytes.chunks(1 << 20).map(|block| hasher.block(block)));
    assert_eq!(report.digest.root(), hasher.finish(blocks).root());
}

/// What an update is told.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// What was written.
    Changes,
    /// Nothing: digests tell.
    Nothing,
}

/// Writes data, zeroes and holes at random places, and returns where.
fn change(image: &Path, random: &mut Random) -> Vec<std::ops::Range<u64>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(image).unwrap();
    let one = |_| {
        let at = random.below(SIZE);
        let most = 1 << (8 + random.below(13));
        let length = (1 + random.below(most)).min(SIZE - at);
        let count = usize::try_from(length).unwrap();
        let bytes = match random.below(3) {
            0 => vec![0; count],
            _ => random.bytes(count),
        };
        if random.below(4) == 0 {
            let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, punch, at, length).unwrap();
        } else {
            file.write_all_at(&bytes, at).unwrap();
        }
        at..at + length
    };
    (0..12).map(one).collect()
}

/// Brings an equal target up to date through power cuts; the digest and every byte must be the source's.
fn updated_through_cuts(seed: u64, told: Told) -> CopyReport {
    let directory = tempdir().unwrap();
    let (image, journal) = (directory.path().join("image"), directory.path().join("journal"));
    random_image(&image, SIZE, seed);
    let (target, options) = (Volatile::dirty(), options());
    let first = {
        let source = local(&image, InitialContent::Unknown);
        copy(&source, &target, &options, &Progress::new(), &Cancel::new()).unwrap()
    };
    let mut random = Random(seed.wrapping_mul(0x1234_5677) | 1);
    let changes = change(&image, &mut random);
    let source = local(&image, InitialContent::Unknown);
    let attempt = |calls| {
        target.calls_left.store(calls, SeqCst);
        let (journal, durable) = Journal::open(&journal, &binding()).unwrap();
        let update = Copy::new(&source, &target, &options).remembered(&journal, &durable);
        let update = match told {
            Told::Changes => update.changed(&first.digest, &changes),
            Told::Nothing => update.differing(&first.digest),
        };
        update.run(&Progress::new(), &Cancel::new())
    };
    for _ in 0..random.below(4) {
        if attempt(i64::try_from(random.below(40)).unwrap()).is_ok() {
            break;
        }
    }
    let report = attempt(i64::MAX).unwrap();
    let expected = std::fs::read(&image).unwrap();
    let stable = target.stable.lock();
    assert!(stable.starts_with(&expected), "seed {seed}");
    assert!(stable[expected.len()..].iter().all(|byte| *byte == 0));
    let hasher = digest::BlockHasher::new(DigestKind::default(), SIZE);
    let blocks = (0u64..).zip(expected.chunks(1 << 20).map(|block| hasher.block(block)));
    assert_eq!(report.digest.root(), hasher.finish(blocks).root(), "seed {seed}");
    report
}

#[test]
fn updates_by_changes_are_the_source_to_the_byte() {
    for seed in 1..=60 {
        updated_through_cuts(seed, Told::Changes);
    }
}

#[test]
fn updates_by_digests_are_the_source_to_the_byte() {
    for seed in 1..=60 {
        updated_through_cuts(seed, Told::Nothing);
    }
}

#[test]
fn an_update_costs_what_changed() {
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    let content = Random(3).bytes(usize::try_from(SIZE).unwrap());
    std::fs::write(&image, &content).unwrap();
    let (target, options) = (Volatile::dirty(), options());
    let source = local(&image, InitialContent::Unknown);
    let run = |copy: Copy<'_>| {
        let progress = Progress::new();
        let report = copy.run(&progress, &Cancel::new()).unwrap();
        assert_eq!(progress.snapshot().data_bytes, report.totals.bytes_read);
        report
    };
    let first = run(Copy::new(&source, &target, &options));
    let changes = [(5 << 20) + 10..(5 << 20) + 20, (7 << 20) - 1..(7 << 20) + 1];
    let by_changes = run(Copy::new(&source, &target, &options).changed(&first.digest, &changes));
    // Three blocks are read for their digests, three granules written.
    assert_eq!(
        (by_changes.totals.bytes_read, by_changes.totals.bytes_written),
        (3 << 20, 3 << 12)
    );
    let nothing = run(Copy::new(&source, &target, &options).changed(&first.digest, &[]));
    assert_eq!(nothing.totals, CopyTotals::default());
    let by_digest = run(Copy::new(&source, &target, &options).differing(&first.digest));
    assert_eq!(
        (by_digest.totals.bytes_read, by_digest.totals.bytes_written),
        (SIZE, 0)
    );
    for report in [by_changes, nothing, by_digest] {
        assert_eq!(report.digest, first.digest);
    }
}

#[test]
fn a_source_that_was_resized_is_not_brought_up_to_date() {
    let directory = tempdir().unwrap();
    let image = directory.path().join("image");
    random_image(&image, SIZE, 4);
    let (target, options) = (Volatile::dirty(), options());
    let source = local(&image, InitialContent::Unknown);
    let first = copy(&source, &target, &options, &Progress::new(), &Cancel::new()).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(SIZE + 4096)
        .unwrap();
    let grown = local(&image, InitialContent::Unknown);
    target.calls_left.store(0, SeqCst);
    for update in [
        Copy::new(&grown, &target, &options).changed(&first.digest, &[]),
        Copy::new(&grown, &target, &options).differing(&first.digest),
    ] {
        let error = update.run(&Progress::new(), &Cancel::new()).unwrap_err();
        assert!(
            matches!(error, TransferError::Resized { expected: SIZE, .. }),
            "{error}"
        );
    }
}
