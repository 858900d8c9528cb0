//! A daemon's inside on real loop devices: store, embedded provider, watcher and operations in one process.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up must fail loudly"
)]

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use volumed::cloud::{Cloud, LocalCloud, LocalConfig};
use volumed::device::{InventoryFeed, KernelMachine, Watcher, WatcherConfig};
use volumed::model::{OperationId, OperationStatus, Request, VolumeId};
use volumed::operation::{OperationError, Operations, Parts, Settings, Submission, Unobserved};
use volumed::store::{self, Asker, OperationRecord, Store, VolumeRecord};

pub(crate) const VM: &str = "test-vm";

/// Everything that outlives one run of the daemon's inside.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) cloud: Arc<dyn Cloud>,
}

impl Place {
    /// A new place; `None`, loudly, where loop devices cannot be made.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var("CI").is_err(), "CI must run this as root");
            eprintln!("SKIPPED: needs root for loop devices");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::open(LocalConfig {
            root: dir.path().join("cloud"),
            vm_id: VM.into(),
        })
        .unwrap();
        Some(Self {
            dir,
            cloud: Arc::new(cloud),
        })
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(Arc::clone(&self.cloud), Settings::default())
            .await
    }

    pub(crate) async fn start_with(&self, cloud: Arc<dyn Cloud>, settings: Settings) -> Running {
        let store = Store::open(&self.dir.path().join("volumed.db")).unwrap();
        let (watcher, feed) = Watcher::start(WatcherConfig::default()).unwrap();
        let parts = Parts {
            store: store.clone(),
            cloud,
            feed: feed.clone(),
            machine: Arc::new(KernelMachine::default()),
            observer: Arc::new(Unobserved),
            settings,
        };
        let operations = Operations::start(parts).await.unwrap();
        operations.recover().await.unwrap();
        Running {
            store,
            operations,
            watcher,
            feed,
        }
    }
}

impl Drop for Place {
    /// Detaches what a failed test left, so that no loop device outlives it.
    fn drop(&mut self) {
        let root = self.dir.path().join("cloud").canonicalize().unwrap_or_default();
        for entry in std::fs::read_dir("/sys/block").unwrap().flatten() {
            let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if backing.starts_with(&*root.to_string_lossy()) && !root.as_os_str().is_empty() {
                let node = format!("/dev/{}", entry.file_name().to_string_lossy());
                let _ = std::process::Command::new("losetup").args(["-d", &node]).status();
            }
        }
    }
}

/// One run of the daemon's inside.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) operations: Operations,
    pub(crate) watcher: Watcher,
    pub(crate) feed: InventoryFeed,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.operations.shut_down().await;
        self.store.close().await;
        self.watcher.stop();
    }

    pub(crate) async fn submit(
        &self,
        volume_id: Option<VolumeId>,
        request: Request,
    ) -> Result<OperationRecord, OperationError> {
        let asker = Asker {
            actor: "test".into(),
            request_id: None,
        };
        self.operations
            .submit(Submission {
                volume_id,
                request,
                asker,
                key: None,
            })
            .await
    }

    /// Waits until an operation has ended.
    pub(crate) async fn end_of(&self, id: OperationId) -> OperationRecord {
        let mut events = self.store.event_ids();
        let ended = async {
            loop {
                let _ = *events.borrow_and_update();
                let op = self
                    .store
                    .read(move |c| store::operations::get(c, id))
                    .await
                    .unwrap()
                    .unwrap();
                if op.status.is_final() {
                    return op;
                }
                events.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), ended).await {
            Ok(op) => op,
            Err(_) => {
                let op = self
                    .store
                    .read(move |c| store::operations::get(c, id))
                    .await
                    .unwrap();
                let journal = self
                    .store
                    .read(move |c| store::journal::read(c, id))
                    .await
                    .unwrap();
                panic!("operation did not end: {op:#?}\n{journal:#?}");
            }
        }
    }

    /// Submits, waits, and returns how it ended.
    pub(crate) async fn run(&self, volume_id: Option<VolumeId>, request: Request) -> OperationRecord {
        let op = self.submit(volume_id, request).await.unwrap();
        self.end_of(op.id).await
    }

    /// As [`run`](Self::run), for what must complete.
    pub(crate) async fn done(&self, volume_id: Option<VolumeId>, request: Request) -> OperationRecord {
        let op = self.run(volume_id, request).await;
        assert_eq!(op.status, OperationStatus::Completed, "{op:#?}");
        op
    }

    pub(crate) async fn create(&self, name: &str, size_bytes: u64) -> VolumeId {
        self.done(
            None,
            Request::Create {
                name: name.into(),
                size_bytes,
                source: None,
            },
        )
        .await
        .volume_id
    }

    pub(crate) async fn attach(&self, volume: VolumeId) -> String {
        let op = self.done(Some(volume), attach()).await;
        op.response.unwrap()["device_path"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn volume(&self, id: VolumeId) -> VolumeRecord {
        self.store
            .read(move |c| store::volumes::get(c, id))
            .await
            .unwrap()
            .unwrap()
    }
}

pub(crate) fn attach() -> Request {
    Request::Attach { vm_id: VM.into() }
}
