//! The embedded provider: a volume is a sparse file, attaching it binds a loop device, and nothing is remembered that
//! can be asked.
//!
//! Guarantees beyond the trait's: one process owns a root at a time; what is attached is what the kernel says; a loop
//! device over a file outside the root is never opened; no reference becomes part of a path unless it is a UUID as we
//! spell them; no symbolic link below the root is followed; files that we did not make are never removed.
//!
//! A call whose future is dropped before it began never begins; one that began finishes, and every later change of that
//! volume waits for it. So nothing lands late, and [`Capabilities::call_expiry`] is zero.

mod claims;
mod copy;
mod disk;
mod examine;
mod failure;
mod layout;
mod loop_ioctl;
mod loops;
mod snapshots;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use self::claims::{Claims, Ticket};
use self::layout::{Layout, parse_ref};
use super::{Call, Capabilities, Cloud, CloudError, NewVolume, ProviderSnapshot, ProviderVolume};
use crate::model::{Bytes, Check};

/// Sizes are multiples of this: a block of every common file system, so that direct I/O reaches the last byte.
const SIZE_UNIT: Bytes = Bytes(4096);
/// Below what ext4 takes in one file (16 TiB less one block).
const MAX_SIZE: Bytes = Bytes(15 << 40);
/// How long attach, delete and revert wait for a device that is going away; probes of udev hold one for milliseconds.
const GOING_AWAY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where the volumes are and which VM this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Directory of the volumes; made if missing, owned by one process at a time.
    pub root: PathBuf,
    /// The only VM that volumes can be attached to.
    pub vm_id: String,
}

/// Why the embedded provider could not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalOpenError {
    /// Another process owns the root.
    #[error("the volumes in {} belong to another process that is running", root.display())]
    InUse {
        /// The root.
        root: PathBuf,
    },
    /// The root cannot be used.
    #[error("opening the volumes in {}", root.display())]
    Root {
        /// The root.
        root: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's loop driver cannot be used; it takes root.
    #[error("opening /dev/loop-control")]
    LoopControl {
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// The embedded provider. Cheap to clone; the root is released when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LocalCloud(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    vm: String,
    layout: Layout,
    claims: Claims,
    /// Held while a volume is made: two of one name must not pass each other.
    creating: Mutex<()>,
    /// Held while a device is bound: two binders of ours need not race for one free device.
    binding: Mutex<()>,
}

/// What a change found out about devices that nobody wants any more.
enum Settled<T> {
    Done(T),
    /// Nothing was done: this device over the file is unbound but still held open.
    GoingAway(String),
}

impl LocalCloud {
    /// Takes the root over and finishes the deletions that a crash cut short. Blocks on the file system.
    pub fn open(config: LocalConfig) -> Result<LocalCloud, LocalOpenError> {
        let control = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control");
        control.map_err(|source| LocalOpenError::LoopControl { source })?;
        let layout = Layout::open(&config.root)?;
        let tidied = layout.discard_unfinished().and_then(|()| layout.empty_trash());
        tidied.map_err(|source| LocalOpenError::Root {
            root: config.root.clone(),
            source,
        })?;
        Ok(LocalCloud(Arc::new(Inner {
            root: config.root,
            vm: config.vm_id,
            layout,
            claims: Claims::default(),
            creating: Mutex::default(),
            binding: Mutex::default(),
        })))
    }

    /// Looks at what a provider with this root needs of the machine, whoever owns the root. Changes nothing; blocks on the
    /// file system.
    #[must_use]
    pub fn examine(root: &Path) -> Vec<Check> {
        examine::examine(root)
    }

    /// Runs `work` where it may block. A panic in it is an unknown outcome.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: impl FnOnce() -> String + Send,
        work: impl FnOnce(&Inner, &Ticket) -> Result<T, CloudError> + Send + 'static,
    ) -> Result<T, CloudError> {
        let inner = Arc::clone(&self.0);
        let (ticket, _interest) = Ticket::issue();
        let ended = tokio::task::spawn_blocking(move || work(&inner, &ticket)).await;
        ended.unwrap_or_else(|e| {
            Err(CloudError::Unknown {
                doing: doing(),
                source: Some(e.into()),
            })
        })
    }

    /// As [`blocking`](Self::blocking), again and again for a moment while a device is going away.
    async fn settling<T: Send + 'static>(
        &self,
        doing: impl Fn() -> String + Send + Sync,
        work: impl Fn(&Inner, &Ticket) -> Result<Settled<T>, CloudError> + Clone + Send + 'static,
    ) -> Result<T, CloudError> {
        let deadline = tokio::time::Instant::now() + GOING_AWAY;
        loop {
            match self.blocking(&doing, work.clone()).await? {
                Settled::Done(answer) => return Ok(answer),
                Settled::GoingAway(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Settled::GoingAway(device) => {
                    return Err(CloudError::Conflict {
                        doing: doing(),
                        reason: format!("{device} is still going away: somebody holds it open"),
                    });
                }
            }
        }
    }
}

#[async_trait]
impl Cloud for LocalCloud {
    fn provider(&self) -> &'static str {
        "local"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size_unit: SIZE_UNIT,
            max_size: MAX_SIZE,
            fresh_volumes_read_zero: true,
            call_expiry: Duration::ZERO,
        }
    }

    async fn own_vm(&self) -> Result<String, CloudError> {
        Ok(self.0.vm.clone())
    }

    async fn volume(&self, provider_ref: &str) -> Result<Option<ProviderVolume>, CloudError> {
        let Some(id) = parse_ref(provider_ref) else {
            return Ok(None);
        };
        self.blocking(
            || format!("reading volume {id}"),
            move |inner, _| inner.volume(id),
        )
        .await
    }

    async fn volumes_named(&self, name: &str) -> Result<Vec<ProviderVolume>, CloudError> {
        let all = self.volumes().await?;
        Ok(all.into_iter().filter(|volume| volume.name == name).collect())
    }

    async fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError> {
        self.blocking(|| "listing volumes".to_owned(), |inner, _| inner.volumes())
            .await
    }

    async fn create_volume(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError> {
        let (call, spec) = (call.id.clone(), spec.clone());
        let name = spec.name.clone();
        self.blocking(
            || format!("creating volume `{name}`"),
            move |inner, ticket| inner.create_volume(&call, &spec, ticket),
        )
        .await
    }

    async fn attach(&self, _call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        let id = known(provider_ref)?;
        let vm = vm.to_owned();
        self.settling(
            || format!("attaching volume {id}"),
            move |inner, ticket| inner.attach(id, &vm, ticket),
        )
        .await
    }

    async fn detach(&self, _call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        let id = known(provider_ref)?;
        let vm = vm.to_owned();
        self.blocking(
            || format!("detaching volume {id}"),
            move |inner, ticket| inner.detach(id, &vm, ticket),
        )
        .await
    }

    async fn resize(&self, _call: &Call, provider_ref: &str, size: Bytes) -> Result<(), CloudError> {
        let id = known(provider_ref)?;
        self.blocking(
            || format!("resizing volume {id}"),
            move |inner, ticket| inner.resize(id, size, ticket),
        )
        .await
    }

    async fn delete_volume(&self, _call: &Call, provider_ref: &str) -> Result<(), CloudError> {
        let Some(id) = parse_ref(provider_ref) else {
            return Ok(());
        };
        self.settling(
            || format!("deleting volume {id}"),
            move |inner, ticket| inner.delete_volume(id, ticket),
        )
        .await
    }

    async fn snapshots(&self, provider_ref: &str) -> Result<Vec<ProviderSnapshot>, CloudError> {
        let id = known(provider_ref)?;
        self.blocking(
            || format!("listing snapshots of volume {id}"),
            move |inner, _| inner.snapshots(id),
        )
        .await
    }

    async fn create_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError> {
        let id = known(provider_ref)?;
        let (call, name) = (call.id.clone(), name.to_owned());
        self.blocking(
            || format!("taking a snapshot of volume {id}"),
            move |inner, ticket| inner.create_snapshot(id, &call, &name, ticket),
        )
        .await
    }

    async fn revert_to_snapshot(
        &self,
        _call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        let id = known(provider_ref)?;
        let snapshot = parse_ref(snapshot_ref).ok_or_else(|| no_snapshot(snapshot_ref, id))?;
        self.settling(
            || format!("reverting volume {id} to snapshot {snapshot}"),
            move |inner, ticket| inner.revert(id, snapshot, ticket),
        )
        .await
    }

    async fn delete_snapshot(
        &self,
        _call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        let (Some(id), Some(snapshot)) = (parse_ref(provider_ref), parse_ref(snapshot_ref)) else {
            return Ok(());
        };
        self.blocking(
            || format!("deleting snapshot {snapshot} of volume {id}"),
            move |inner, ticket| inner.delete_snapshot(id, snapshot, ticket),
        )
        .await
    }

    async fn diagnose(&self) -> Vec<Check> {
        let root = self.0.root.clone();
        let examined = tokio::task::spawn_blocking(move || Self::examine(&root)).await;
        examined.unwrap_or_else(|panic| {
            let seen = format!("examining failed: {panic}");
            vec![Check::failed(
                "volumes",
                seen,
                "this is a defect of volumed; please report it",
            )]
        })
    }
}

fn known(provider_ref: &str) -> Result<Uuid, CloudError> {
    parse_ref(provider_ref).ok_or_else(|| no_volume(provider_ref))
}

fn no_volume(provider_ref: impl std::fmt::Display) -> CloudError {
    CloudError::NotFound {
        what: format!("volume {provider_ref}"),
    }
}

fn no_snapshot(snapshot_ref: impl std::fmt::Display, volume: Uuid) -> CloudError {
    CloudError::NotFound {
        what: format!("snapshot {snapshot_ref} of volume {volume}"),
    }
}
