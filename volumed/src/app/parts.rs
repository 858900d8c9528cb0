//! The parts that work: the kernel's watcher, the cloud, the operations, the reconciler, and who counts what they do.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::AppError;
use crate::api::DoctorSource;
use crate::cloud::{CallObserver, Cloud, CloudStack, LocalCloud, LocalConfig, Metered, Retry, RetryPolicy};
use crate::config::{Config, Devices, Provider, VolumeIdentity};
use crate::device::{
    InventoryFeed, KernelIdentities, KernelMachine, Machine, SysRoot, Watcher, WatcherConfig, WatcherStats,
    boot_id,
};
use crate::doctor::{Doctor, Doors};
use crate::metrics::{Metrics, WatcherTotals};
use crate::model::{OperationKind, OperationStatus};
use crate::operation::{self, IdentityPolicy, Observer, Operations, Settings};
use crate::reconcile::{self, Bounds, Reconciler};
use crate::store::{self, Store};

/// How often the three views are compared where nothing gives a reason to.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);

/// What was started, and what it takes to use and to stop it.
pub(super) struct Parts {
    pub(super) operations: Operations,
    pub(super) metrics: Metrics,
    pub(super) reconciler: Arc<Reconciler>,
    cloud: Arc<dyn Cloud>,
    watcher: Watcher,
}

impl Parts {
    /// Starts them, lowest first. Nothing is changed before operations are told to recover.
    ///
    /// # Errors
    /// [`AppError::Part`] with the part that could not be started; those below it have stopped by then.
    pub(super) async fn start(config: &Config, store: &Store) -> Result<Self, AppError> {
        let boot_id = blocking("boot id", || boot_id(&SysRoot::default())).await?;
        let disputed = store
            .read(move |conn| store::disputes::of_boot(conn, &boot_id))
            .await;
        let watching = WatcherConfig {
            disputed: disputed.map_err(failed("database"))?,
            ..watcher_config(config.devices)
        };
        let (watcher, feed) = blocking("device watcher", || Watcher::start(watching)).await?;
        let metrics = metrics_of(feed.clone());
        let cloud = layered(open_cloud(config).await?, &metrics);
        let machine: Arc<dyn Machine> = Arc::new(KernelMachine::default());
        let parts = operation::Parts {
            store: store.clone(),
            cloud: Arc::clone(&cloud),
            feed: feed.clone(),
            machine: Arc::clone(&machine),
            observer: Arc::new(Counted(metrics.clone())),
            settings: Settings {
                concurrency: config.operations.concurrency,
                attach_timeout: config.operations.attach_timeout,
                identity: identity_policy(config),
                ..Settings::default()
            },
        };
        let operations = Operations::start(parts).await.map_err(failed("operations"))?;
        let reconciler = Reconciler::new(reconcile::Parts {
            store: store.clone(),
            cloud: Arc::clone(&cloud),
            feed,
            machine,
            operations: operations.clone(),
            bounds: Bounds::of(config.reconcile),
            timer: RECONCILE_EVERY,
        });
        Ok(Self {
            operations,
            metrics,
            reconciler,
            cloud,
            watcher,
        })
    }

    /// Examines the surroundings of these parts.
    pub(super) fn examiner(&self, config: &Config, doors: Doors) -> DoctorSource {
        let doctor = Doctor {
            cloud: Arc::clone(&self.cloud),
            feed: self.watcher.feed(),
            database: config.database.clone(),
            doors,
        };
        Arc::new(move || {
            let doctor = doctor.clone();
            Box::pin(async move { doctor.examine().await })
        })
    }

    /// Returns the name of the first part that ends by itself.
    pub(super) async fn ended(&self) -> &'static str {
        let died = self.watcher.died().await;
        tracing::error!(%died, "the daemon cannot go on");
        "device watcher"
    }

    /// Stops those that have a thread of their own. Operations have come to rest before.
    pub(super) async fn stop(self) {
        let watcher = self.watcher;
        if tokio::task::spawn_blocking(move || watcher.stop()).await.is_err() {
            tracing::warn!("stopping the device watcher panicked");
        }
    }
}

pub(super) async fn open_cloud(config: &Config) -> Result<Arc<dyn Cloud>, AppError> {
    match config.provider {
        Provider::Local => {
            let local = LocalConfig {
                root: config.local.root.clone(),
                vm_id: config.local.vm_id.clone(),
            };
            let cloud = blocking("provider `local`", || LocalCloud::open(local)).await?;
            Ok(Arc::new(cloud))
        }
        Provider::CloudStack => {
            let settings = config.cloudstack.clone().expect("read where it is the provider");
            let cloud = CloudStack::open(settings).await;
            Ok(Arc::new(cloud.map_err(failed("provider `cloudstack`"))?))
        }
    }
}

/// What is taken for proof that a device is a volume's.
fn identity_policy(config: &Config) -> IdentityPolicy {
    match config.cloudstack.as_ref().map(|cloudstack| cloudstack.identity) {
        Some(VolumeIdentity::Appearance) => {
            tracing::warn!(
                "`cloudstack.identity` is \"appearance\": disks without serials are told by having appeared alone; \
                 attaches go one at a time"
            );
            IdentityPolicy::Appearance
        }
        Some(VolumeIdentity::Serial) | None => IdentityPolicy::Carried,
    }
}

/// How this installation's devices are watched.
pub(super) fn watcher_config(devices: Devices) -> WatcherConfig {
    if devices.loop_serials {
        tracing::warn!(
            "`devices.loop_serials` is on: a loop device may pass for a disk with a serial, so whoever can bind one can \
             pass a file off as any volume; this is for tests and demonstrations"
        );
    }
    WatcherConfig {
        identities: Arc::new(KernelIdentities {
            loop_serials: devices.loop_serials,
        }),
        ..WatcherConfig::default()
    }
}

/// The provider with what every provider gets: each try is counted, and what certainly did nothing is tried again.
fn layered(cloud: Arc<dyn Cloud>, metrics: &Metrics) -> Arc<dyn Cloud> {
    let metered = Metered::around(Arc::new(Counted(metrics.clone())), cloud);
    Arc::new(Retry::around(RetryPolicy::default(), Arc::new(metered)))
}

/// Starts a part whose start blocks.
async fn blocking<T, E>(
    part: &'static str,
    start: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, AppError>
where
    T: Send + 'static,
    E: Error + Send + Sync + 'static,
{
    match tokio::task::spawn_blocking(start).await {
        Ok(started) => started.map_err(failed(part)),
        Err(panic) => Err(failed(part)(panic)),
    }
}

fn failed<E: Error + Send + Sync + 'static>(part: &'static str) -> impl Fn(E) -> AppError {
    move |error| AppError::Part {
        part,
        source: Box::new(error),
    }
}

fn metrics_of(feed: InventoryFeed) -> Metrics {
    Metrics::new().with_watcher(move || totals(feed.stats()))
}

fn totals(stats: &WatcherStats) -> WatcherTotals {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    WatcherTotals {
        events: read(&stats.kernel_events) + read(&stats.udev_events) + read(&stats.inotify_events),
        gaps: read(&stats.gaps),
        rescans: read(&stats.scans),
        lost: read(&stats.events_missed) + read(&stats.events_dropped),
        failed_scans: read(&stats.scan_failures),
        scan_runs_for: stats.scan_running_for().unwrap_or_default(),
    }
}

/// Counts what operations do and what the cloud answers.
struct Counted(Metrics);

impl CallObserver for Counted {
    fn finished(&self, method: &'static str, outcome: &'static str, took: Duration) {
        self.0.cloud_call(method, outcome, took);
    }
}

impl Observer for Counted {
    fn operation_finished(&self, kind: OperationKind, status: OperationStatus, took: Duration) {
        self.0.operation_finished(kind, status, took);
    }

    fn step_finished(&self, _: OperationKind, step: &'static str, outcome: &'static str, took: Duration) {
        self.0.step_finished(step, outcome, took);
    }

    fn correlated(&self, took: Duration) {
        self.0.correlated(took);
    }

    fn bound(&self, after_uevent: Duration) {
        self.0.bound(after_uevent);
    }

    fn compared(&self, took: Duration) {
        self.0.compared(took);
    }
}
