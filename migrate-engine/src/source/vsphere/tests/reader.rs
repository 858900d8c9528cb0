//! A disk's reader: what it asks for, what it leaves alone, and how it ends.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use super::super::{Area, FolderDisk, FolderDiskOptions, FolderError, RequestLimit};
use super::server::{Reply, Seen, Server};
use crate::block::testing::wait_until;
use crate::block::{
    BlockError, BlockRead, Buffer, BufferPool, Cancel, Extent, ExtentKnowledge, ReadRequest, ReadWorker,
};

const SIZE: usize = 4 << 20;
const BUFFER: usize = 1 << 20;

fn byte(offset: usize) -> u8 {
    u8::try_from(offset * 7 % 251).unwrap()
}

/// The range that was asked for.
fn asked(seen: &Seen) -> Option<(usize, usize)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn of_size(size: usize) -> Reply {
    Reply::Keep(format!("HTTP/1.1 200 O\r\nContent-Length: {size}\r\n\r\n").into_bytes())
}

fn good(seen: &Seen) -> Reply {
    let (first, last) = asked(seen).unwrap();
    let length = last - first + 1;
    let mut bytes = format!(
        "HTTP/1.1 206 P\r\nContent-Length: {length}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend((first..=last).map(byte));
    Reply::Keep(bytes)
}

/// A server, and a runtime of its own for it and for the reads: workers block the test's thread.
struct Place {
    runtime: Runtime,
    server: Server,
    disk: FolderDisk,
}

impl Place {
    fn new(
        options: FolderDiskOptions,
        reads: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        sizes: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let asked_sizes = AtomicUsize::new(0);
        let (server, disk) = runtime.block_on(async {
            let server = Server::with_login(move |seen| {
                if seen.head.starts_with("HEAD /folder/") {
                    return Some(of_size(sizes(asked_sizes.fetch_add(1, Ordering::SeqCst))));
                }
                seen.head.starts_with("GET /folder/").then(|| reads(seen))
            })
            .await;
            let session = server.login().await;
            let path = "[store 1] web/web-flat.vmdk".parse().unwrap();
            let file = session.folder_file(&path, None).await.unwrap();
            let disk = FolderDisk::new(file, Handle::current(), options);
            (server, disk)
        });
        Self {
            runtime,
            server,
            disk,
        }
    }

    fn silent(options: FolderDiskOptions) -> Self {
        Self::new(options, |_| Reply::Silence, |_| SIZE)
    }

    fn reads(&self) -> Vec<(usize, usize)> {
        self.server.seen().iter().filter_map(asked).collect()
    }
}

fn options(depth: usize, requests: usize) -> FolderDiskOptions {
    FolderDiskOptions {
        depth,
        requests: RequestLimit::new(requests),
    }
}

fn buffer() -> Buffer {
    BufferPool::new(1, BUFFER, 4096).take().unwrap()
}

fn request(offset: usize, wanted: &[Range<usize>]) -> ReadRequest {
    ReadRequest {
        offset: offset as u64,
        buffer: buffer(),
        wanted: wanted.to_vec(),
    }
}

fn part(offset: usize, wanted: Range<usize>) -> ReadRequest {
    request(offset, std::slice::from_ref(&wanted))
}

fn open(disk: &FolderDisk, cancel: &Cancel) -> Box<dyn ReadWorker> {
    disk.open_worker(cancel).unwrap()
}

#[test]
fn it_asks_for_what_is_near_at_once_and_leaves_the_rest_alone() {
    let place = Place::new(FolderDiskOptions::default(), good, |_| SIZE);
    let mut worker = open(&place.disk, &Cancel::new());
    let wanted = [512..1024, 4096..8192, 500_000..500_512];
    let mut sent = request(BUFFER, &wanted);
    sent.buffer.fill(1);
    worker.submit(sent).unwrap();
    let back = worker.complete().unwrap();
    assert_eq!((back.offset, &back.wanted[..]), (BUFFER as u64, &wanted[..]));
    for (at, found) in back.buffer.iter().enumerate() {
        let is_wanted = wanted.iter().any(|part| part.contains(&at));
        let expected = if is_wanted { byte(BUFFER + at) } else { 1 };
        assert_eq!(*found, expected, "at {at}");
    }
    let asked = [512..8192, 500_000..500_512].map(|run| (BUFFER + run.start, BUFFER + run.end - 1));
    assert_eq!(place.reads(), asked);
    assert!(matches!(worker.complete(), Err(BlockError::NothingInFlight)));
    let beyond = worker.submit(part(SIZE - 512, 0..513));
    assert!(matches!(beyond, Err(BlockError::OutOfRange { .. })), "{beyond:?}");
}

#[test]
fn it_tells_what_is_allocated_and_no_more() {
    let place = Place::new(options(4, 16), good, |_| SIZE);
    let whole = 0..SIZE as u64;
    let mut worker = open(&place.disk, &Cancel::new());
    assert_eq!(place.disk.extent_knowledge(), ExtentKnowledge::Hidden);
    assert_eq!(
        worker.extents(whole.clone()).unwrap(),
        [Extent::data(whole.clone())]
    );
    let area = |start, length| Area { start, length };
    // Out of order, and beyond the end.
    let areas = [area(1 << 21, u64::MAX), area(512, 512), area(0, 512)];
    let disk = place.disk.clone().with_allocated(&areas);
    assert_eq!(disk.extent_knowledge(), ExtentKnowledge::Known);
    let mut worker = open(&disk, &Cancel::new());
    let expected = [
        Extent::data(0..1024),
        Extent::zero(1024..1 << 21),
        Extent::data(1 << 21..whole.end),
    ];
    assert_eq!(worker.extents(whole.clone()).unwrap(), expected);
    assert!(worker.extents(0..whole.end + 1).is_err());
    assert!(place.reads().is_empty(), "extents cost no request");
    assert_eq!((disk.max_workers(), disk.alignment()), (4, 512));
}

#[test]
fn its_requests_are_no_more_than_agreed_whatever_is_asked_for() {
    for (depth, requests, workers, each) in [(4, 16, 4, 4), (0, 16, 16, 1), (9, 3, 1, 3), (5, 0, 1, 1)] {
        let place = Place::silent(options(depth, requests));
        let worker = open(&place.disk, &Cancel::new());
        assert_eq!((place.disk.max_workers(), worker.depth()), (workers, each));
    }
}

#[test]
fn a_cancelled_wait_ends_soon_and_leaves_no_request_behind() {
    let limit = RequestLimit::new(2);
    let place = Place::silent(FolderDiskOptions {
        depth: 4,
        requests: limit.clone(),
    });
    let cancel = Cancel::new();
    let mut worker = open(&place.disk, &cancel);
    for _ in 0..4 {
        worker.submit(part(0, 0..BUFFER)).unwrap();
    }
    wait_until("two requests", || place.reads().len() == 2);
    assert_eq!(limit.in_use(), 2, "the other two wait");
    let raised = std::thread::spawn({
        let cancel = cancel.clone();
        move || {
            cancel.cancel();
            Instant::now()
        }
    });
    let ended = worker.complete();
    let took = raised.join().unwrap().elapsed();
    assert!(matches!(ended, Err(BlockError::Interrupted)), "{ended:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    wait_until("the requests' end", || limit.in_use() == 0);
    assert!(matches!(
        worker.submit(part(0, 0..512)),
        Err(BlockError::Interrupted)
    ));
    assert_eq!(place.reads().len(), 2);
}

#[test]
fn a_dropped_worker_leaves_no_request_behind() {
    let limit = RequestLimit::new(8);
    let place = Place::silent(FolderDiskOptions {
        depth: 4,
        requests: limit.clone(),
    });
    let mut worker = open(&place.disk, &Cancel::new());
    for _ in 0..4 {
        worker.submit(part(0, 0..BUFFER)).unwrap();
    }
    wait_until("the requests", || limit.in_use() == 4);
    drop(worker);
    wait_until("the requests' end", || limit.in_use() == 0);
}

#[test]
fn a_runtime_that_ends_fails_its_reads_at_once() {
    let place = Place::silent(FolderDiskOptions::default());
    let mut worker = open(&place.disk, &Cancel::new());
    worker.submit(part(0, 0..BUFFER)).unwrap();
    wait_until("the request", || place.reads().len() == 1);
    place.runtime.shutdown_background();
    let error = worker.complete().unwrap_err();
    assert!(matches!(error, BlockError::Remote { offset: 0, .. }), "{error:?}");
    // Nothing can be begun any more, and that is told as well.
    let mut another = open(&place.disk, &Cancel::new());
    another.submit(part(512, 0..512)).unwrap();
    let error = another.complete().unwrap_err();
    assert_eq!(error.place(), Some((512, 512)));
}

#[test]
fn a_runtime_of_one_thread_works_while_somebody_drives_it() {
    let place = Place::new(FolderDiskOptions::default(), good, |_| SIZE);
    let alone = Builder::new_current_thread().enable_all().build().unwrap();
    let file = alone.block_on(async {
        let session = place.server.login().await;
        let path = place.disk.file().path().clone();
        session.folder_file(&path, None).await.unwrap()
    });
    let cancel = Cancel::new();
    let disk = FolderDisk::new(file, alone.handle().clone(), FolderDiskOptions::default());
    let mut worker = open(&disk, &cancel);
    worker.submit(part(0, 0..512)).unwrap();
    let reading = std::thread::spawn(move || {
        let first = worker.complete();
        (worker, first)
    });
    alone.block_on(async {
        while !reading.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (mut worker, first) = reading.join().unwrap();
    assert_eq!(first.unwrap().buffer[511], byte(511));
    // Nobody drives it any more: only the cancel flag ends the wait.
    worker.submit(part(0, 0..512)).unwrap();
    cancel.cancel();
    assert!(matches!(worker.complete(), Err(BlockError::Interrupted)));
}

fn folder_error(error: &BlockError) -> &FolderError {
    let BlockError::Remote { source, .. } = error else {
        panic!("{error:?}")
    };
    source.downcast_ref().unwrap()
}

#[test]
fn a_file_that_shrinks_is_said_to_have() {
    let status =
        |text: &str| Reply::Keep(format!("HTTP/1.1 {text}\r\nContent-Length: 0\r\n\r\n").into_bytes());
    let short = status("416 R\r\nContent-Range: bytes */1048576");
    let place = Place::new(FolderDiskOptions::default(), move |_| short.clone(), |_| SIZE);
    let mut worker = open(&place.disk, &Cancel::new());
    worker.submit(part(2 << 20, 512..1024)).unwrap();
    let error = worker.complete().unwrap_err();
    assert_eq!(error.place(), Some(((2 << 20) + 512, 512)));
    assert!(
        matches!(folder_error(&error), FolderError::Size { found: 1_048_576, .. }),
        "{error:?}"
    );
    // A server that says so for no reason.
    let odd = status(&format!("416 R\r\nContent-Range: bytes */{SIZE}"));
    let place = Place::new(FolderDiskOptions::default(), move |_| odd.clone(), |_| SIZE);
    let mut worker = open(&place.disk, &Cancel::new());
    worker.submit(part(0, 0..512)).unwrap();
    let error = worker.complete().unwrap_err();
    assert!(
        matches!(folder_error(&error), FolderError::Status { status: 416, .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_of_another_size_than_before_is_noticed() {
    let place = Place::new(FolderDiskOptions::default(), good, |number| {
        if number < 2 { SIZE } else { SIZE + 512 }
    });
    place.runtime.block_on(place.disk.verify_unchanged()).unwrap();
    let error = place.runtime.block_on(place.disk.verify_unchanged()).unwrap_err();
    let FolderError::Size { expected, found, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((expected, found), (SIZE as u64, SIZE as u64 + 512));
}

/// The reads of several disks stay below one limit, and all of them come through.
#[test]
fn disks_share_a_limit() {
    let limit = RequestLimit::new(3);
    let options = FolderDiskOptions {
        depth: 4,
        requests: limit.clone(),
    };
    let most = Arc::new(AtomicUsize::new(0));
    let seen_most = Arc::clone(&most);
    let seen_limit = limit;
    let place = Place::new(
        options,
        move |seen| {
            seen_most.fetch_max(seen_limit.in_use(), Ordering::SeqCst);
            good(seen)
        },
        |_| SIZE,
    );
    let mut workers: Vec<_> = (0..4)
        .map(|_| open(&place.disk.clone(), &Cancel::new()))
        .collect();
    for worker in &mut workers {
        for number in 0..4 {
            worker.submit(part(number * BUFFER, 0..4096)).unwrap();
        }
    }
    for worker in &mut workers {
        for _ in 0..4 {
            let back = worker.complete().unwrap();
            let offset = usize::try_from(back.offset).unwrap();
            assert_eq!(back.buffer[4095], byte(offset + 4095));
        }
    }
    assert_eq!(place.reads().len(), 16);
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}
