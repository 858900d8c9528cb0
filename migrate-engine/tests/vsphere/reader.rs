//! Whole copies of snapshots' disks through `/folder`, and what goes wrong in the middle of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use migrate_engine::block::{
    BlockRead, Cancel, ExtentKnowledge, InitialContent, LocalDisk, LocalDiskOptions,
};
use migrate_engine::source::vsphere::{
    Disk, FolderDisk, FolderDiskOptions, FolderError, Machine, Reference, RequestLimit, Session, Since,
    SourceBinding,
};
use migrate_engine::transfer::{self, CopyOptions, CopyReport, Progress, TransferError};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::copies::{areas, changes, tracked};
use super::site::{MODELS, Site, request, with};
use super::tripwire::Tripwire;

const SIZE: u64 = 24 << 20;
const SIZED: [&str; 2] = ["-disk-size", "25165824"];

/// A machine whose disks are frozen by a snapshot, with the guest writing on.
struct Frozen {
    site: Arc<Site>,
    session: Session,
    machine: Machine,
    snapshot: Reference,
    disks: Vec<Disk>,
}

impl Frozen {
    async fn new(options: &[&str]) -> Self {
        let site = Arc::new(Site::start(&with(options, &["-lock-running"])));
        let session = site.login().await;
        let machine = tracked(&session).await;
        let vm = machine.reference();
        for disk in &machine.config().unwrap().disks {
            guest_writes(&site, &machine.id, disk, 1);
        }
        let snapshot = session.create_snapshot(&vm, &request("f")).await.unwrap();
        for disk in &machine.config().unwrap().disks {
            guest_writes(&site, &machine.id, disk, 2);
        }
        let disks = session.snapshot_disks(&snapshot).await.unwrap().disks;
        Self {
            site,
            session,
            machine,
            snapshot,
            disks,
        }
    }

    async fn open(&self, disk: &Disk, options: FolderDiskOptions) -> FolderDisk {
        let path = disk.path.as_deref().unwrap().parse().unwrap();
        let datacenter = self.machine.datacenter_path.as_deref();
        let capacity = disk.capacity_bytes.unwrap();
        let file = self.session.flat_file(&path, datacenter, capacity).await.unwrap();
        FolderDisk::new(file, Handle::current(), options)
    }

    /// The first disk; no more than 8 of its 24 blocks are in flight, so that some are left in the middle.
    async fn first(&self) -> FolderDisk {
        let options = FolderDiskOptions {
            depth: 2,
            requests: RequestLimit::new(8),
        };
        self.open(&self.disks[0], options).await
    }

    fn bytes(&self, disk: &Disk) -> Vec<u8> {
        self.site.frozen(&self.machine.id, disk.key, &self.snapshot)
    }

    fn reads(&self) -> u64 {
        self.calls("folder GET")
    }

    fn calls(&self, name: &str) -> u64 {
        let calls: serde_json::Value = serde_json::from_slice(&self.site.get("calls")).unwrap();
        calls[name].as_u64().unwrap_or_default()
    }
}

/// Bytes in some places; others stay holes. Which ones follows from `seed`.
fn guest_writes(site: &Site, vm: &str, disk: &Disk, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ disk.key.unsigned_abs() as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = disk.capacity_bytes.unwrap();
    for _ in 0..6 {
        let bytes: Vec<u8> = (0..200_000).map(|_| next() as u8).collect();
        let offset = next() % ((size - 200_000) / 512) * 512;
        site.hook(
            "POST",
            &format!("write?vm={vm}&disk={}&offset={offset}", disk.key),
            &bytes,
        );
    }
}

/// Copies over a file of old bytes. Gives what is in it then.
fn copy(source: &dyn BlockRead, cancel: &Cancel) -> Result<(Vec<u8>, CopyReport), TransferError> {
    let target = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(target.path(), vec![0xaa; source.size() as usize]).unwrap();
    let options = LocalDiskOptions {
        initial_content: InitialContent::Unknown,
        ..LocalDiskOptions::default()
    };
    let file = target.reopen().unwrap();
    let disk = LocalDisk::new(file.into(), options).unwrap();
    let mut options = CopyOptions::default();
    options.workers = 4;
    let report = transfer::copy(source, &disk, &options, &Progress::new(), cancel)?;
    Ok((std::fs::read(target.path()).unwrap(), report))
}

fn copied(source: &dyn BlockRead) -> (Vec<u8>, CopyReport) {
    block_in_place(|| copy(source, &Cancel::new())).unwrap()
}

fn failed(source: &dyn BlockRead) -> TransferError {
    block_in_place(|| copy(source, &Cancel::new())).err().unwrap()
}

/// The cause of a failed read, and all that is said of it.
fn cause(error: &TransferError) -> (&FolderError, String) {
    let mut said = error.to_string();
    let mut found = None;
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = next {
        said = format!("{said}: {error}");
        found = found.or(error.downcast_ref());
        next = error.source();
    }
    (found.unwrap_or_else(|| panic!("{error:?}")), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_what_the_snapshot_froze() {
    for model in MODELS {
        let frozen = Frozen::new(&with(model, &SIZED)).await;
        let disk = frozen.first().await;
        disk.verify_unchanged().await.unwrap();
        let (found, report) = copied(&disk);
        disk.verify_unchanged().await.unwrap();
        assert!(found == frozen.bytes(&frozen.disks[0]), "{model:?} differs");
        assert_eq!(report.totals.bytes_read, SIZE, "nothing is known of holes");
        assert_eq!(
            (report.workers, report.extent_knowledge),
            (4, ExtentKnowledge::Hidden)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_holes_are_not_asked_for() {
    for model in MODELS {
        let frozen = Frozen::new(&with(model, &SIZED)).await;
        let Frozen {
            session,
            machine,
            snapshot,
            ..
        } = &frozen;
        let vm = machine.reference();
        let areas = areas(changes(session, &vm, snapshot, &Since::Creation, SIZE).await);
        let allocated: u64 = areas.iter().map(|area| area.length).sum();
        assert!(!areas.is_empty() && allocated < SIZE / 2, "{areas:?}");
        let disk = frozen.first().await.with_allocated(&areas);
        let before = frozen.reads();
        let (found, report) = copied(&disk);
        assert!(found == frozen.bytes(&frozen.disks[0]), "{model:?} differs");
        assert_eq!(report.totals.bytes_read, allocated);
        assert_eq!(report.extent_knowledge, ExtentKnowledge::Known);
        let blocks = areas.iter().map(|area| area.length / (1 << 20) + 2).sum();
        let reads = frozen.reads() - before;
        assert!((1..=blocks).contains(&reads), "{reads} reads for {areas:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_in_the_middle_leaves_the_copy_equal() {
    for model in MODELS {
        let frozen = Frozen::new(&with(model, &SIZED)).await;
        let expected = frozen.bytes(&frozen.disks[0]);
        let (reads, logins) = (frozen.reads(), frozen.calls("Login"));
        for trouble in ["drop?n=3", "status?n=3&code=503", "expire"] {
            let site = Arc::clone(&frozen.site);
            let disk = Tripwire::new(frozen.first().await, move || site.post(trouble));
            let (found, _) = copied(&disk);
            assert!(found == expected, "{model:?} differs after {trouble}");
        }
        let blocks = 3 * (SIZE >> 20);
        assert!(frozen.reads() - reads >= blocks + 7, "troubles were met");
        assert_eq!(
            frozen.calls("Login") - logins,
            1,
            "logged in once more by all together"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_pass_is_told_precisely() {
    let frozen = Frozen::new(&SIZED).await;
    type Is = fn(&FolderError) -> bool;
    let cases: [(u16, Is, &str); 3] = [
        (
            500,
            |error| matches!(error, FolderError::Locked { .. }),
            "make a snapshot",
        ),
        (
            404,
            |error| matches!(error, FolderError::NotFound { .. }),
            "check the datastore's name",
        ),
        (
            403,
            |error| matches!(error, FolderError::Forbidden { .. }),
            "Datastore.Browse",
        ),
    ];
    for (code, is_it, advice) in cases {
        let site = Arc::clone(&frozen.site);
        let trouble = format!("status?n=1000&code={code}");
        let disk = Tripwire::new(frozen.first().await, move || site.post(&trouble));
        let error = failed(&disk);
        frozen.site.post("status?n=0");
        let (folder, said) = cause(&error);
        assert!(is_it(folder), "{code}: {error:?}");
        assert!(said.contains(advice) && said.contains("-flat.vmdk"), "{said}");
        assert!(matches!(error, TransferError::Read { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_longer_the_disk_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let options = [&SIZED[..], &["-dir", folder.path().to_str().unwrap()]].concat();
    let frozen = Frozen::new(&options).await;
    let disk = frozen.first().await;
    let file = local(folder.path(), &disk);
    let shortened = file.clone();
    let watched = Tripwire::new(disk.clone(), move || {
        let file = std::fs::File::options().write(true).open(&shortened).unwrap();
        file.set_len(SIZE - (1 << 20)).unwrap();
    });
    let error = failed(&watched);
    let (folder_error, said) = cause(&error);
    let FolderError::Size { expected, found, .. } = folder_error else {
        panic!("{error:?}")
    };
    assert_eq!((*expected, *found), (SIZE, SIZE - (1 << 20)), "{said}");
    let unchanged = disk.verify_unchanged().await;
    assert!(
        matches!(unchanged, Err(FolderError::Size { .. })),
        "{unchanged:?}"
    );
    let path = frozen.disks[0].path.as_deref().unwrap().parse().unwrap();
    let datacenter = frozen.machine.datacenter_path.as_deref();
    let opened = frozen.session.flat_file(&path, datacenter, SIZE).await;
    assert!(
        matches!(opened, Err(FolderError::Size { .. })),
        "{:?}",
        opened.err()
    );
    std::fs::remove_file(file).unwrap();
    let unchanged = disk.verify_unchanged().await;
    assert!(
        matches!(unchanged, Err(FolderError::NotFound { .. })),
        "{unchanged:?}"
    );
}

/// Where the simulator keeps the file.
fn local(folder: &Path, disk: &FolderDisk) -> PathBuf {
    let path = disk.file().path();
    folder.join(path.datastore()).join(path.file())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_copy_ends_at_once_with_nothing_left_running() {
    let frozen = Frozen::new(&SIZED).await;
    let (limit, cancel) = (RequestLimit::new(8), Cancel::new());
    let options = FolderDiskOptions {
        depth: 2,
        requests: limit.clone(),
    };
    let disk = frozen.open(&frozen.disks[0], options).await;
    let raised_at = Arc::new(std::sync::OnceLock::new());
    let (raised, flag) = (Arc::clone(&raised_at), cancel.clone());
    let watched = Tripwire::new(disk, move || {
        flag.cancel();
        raised.set(Instant::now()).unwrap();
    });
    let error = block_in_place(|| copy(&watched, &cancel)).err().unwrap();
    let took = raised_at.get().unwrap().elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(error.is_cancelled(), "{error:?}");
    let deadline = Instant::now() + Duration::from_secs(1);
    while limit.in_use() > 0 {
        assert!(Instant::now() < deadline, "requests go on");
        tokio::task::yield_now().await;
    }
    drop(watched);
    let Frozen { site, session, .. } = frozen;
    session.logout().await.unwrap();
    drop(session);
    while Handle::current().metrics().num_alive_tasks() > 0 {
        assert!(Instant::now() < deadline, "tasks go on");
        tokio::task::yield_now().await;
    }
    drop(site);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_disks_are_copied_at_once() {
    for model in MODELS {
        let frozen = Frozen::new(&with(model, &["-disks", "8", "-disk-size", "8388608"])).await;
        assert_eq!(frozen.disks.len(), 8);
        let options = FolderDiskOptions::default();
        let mut disks = Vec::new();
        for disk in &frozen.disks {
            disks.push((disk, frozen.open(disk, options.clone()).await));
        }
        block_in_place(|| {
            std::thread::scope(|scope| {
                for (disk, reader) in &disks {
                    let frozen = &frozen;
                    scope.spawn(move || {
                        let (found, _) = copy(reader, &Cancel::new()).unwrap();
                        assert!(found == frozen.bytes(disk), "{} differs", disk.label);
                    });
                }
            });
        });
        let names: std::collections::BTreeSet<_> =
            (disks.iter()).map(|(disk, _)| name(&frozen, disk)).collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(options.requests.in_use(), 0);
    }
}

fn name(frozen: &Frozen, disk: &Disk) -> String {
    let endpoint = frozen.session.endpoint();
    let name = SourceBinding::new(endpoint, &frozen.machine, &frozen.snapshot, disk).to_string();
    let change_id = disk.change_id.as_ref().unwrap();
    assert!(name.contains(" instance ") && name.contains(" uuid "), "{name}");
    assert!(
        name.ends_with(&format!("snapshot {} change {change_id}", frozen.snapshot.id)),
        "{name}"
    );
    name
}
