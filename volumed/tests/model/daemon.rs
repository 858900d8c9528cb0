//! The daemon's inside, real but for the machine and the cloud: store, operations, reconciler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use volumed::device::{InventoryFeed, Machine, WatcherStats};
use volumed::operation::{Operations, Parts, Settings, Unobserved};
use volumed::reconcile::{self, Bounds, Reconciler};
use volumed::store::{self, Store};

use crate::cloud::SimCloud;
use crate::machine::{SimMachine, SimScanner};
use crate::world::World;

pub(crate) struct Daemon {
    pub(crate) store: Store,
    pub(crate) operations: Operations,
    pub(crate) reconciler: Arc<Reconciler>,
}

impl Daemon {
    /// Starts it as the process does; recovery goes on by itself.
    pub(crate) async fn start(world: &World, database: &Path) -> Self {
        tokio::spawn(world.clone().clockwork());
        let clock = world.clone();
        let store = Store::open_in_line(database, Arc::new(move || clock.timestamp())).unwrap();
        let boot = world.now().kernel.boot.clone();
        let disputed = store.read(move |conn| store::disputes::of_boot(conn, &boot));
        let disputed = disputed.await.unwrap();
        let inventories = world.now().watch(&disputed).subscribe();
        let scanner = SimScanner {
            world: world.clone(),
            stats: WatcherStats::default(),
        };
        let feed = InventoryFeed::new(inventories, Arc::new(scanner));
        let cloud = Arc::new(SimCloud(world.clone()));
        let machine: Arc<dyn Machine> = Arc::new(SimMachine(world.clone()));
        let parts = Parts {
            store: store.clone(),
            cloud: cloud.clone(),
            feed: feed.clone(),
            machine: Arc::clone(&machine),
            observer: Arc::new(Unobserved),
            settings: Settings {
                attach_timeout: Duration::from_secs(40),
                cloud_patience: Duration::from_secs(40),
                ..Settings::default()
            },
        };
        let operations = Operations::start(parts).await.unwrap();
        let timer = Duration::from_secs(30);
        let reconciler = Reconciler::new(reconcile::Parts {
            store: store.clone(),
            cloud,
            feed,
            machine,
            operations: operations.clone(),
            bounds: Bounds {
                orphan: SignedDuration::from_secs(60),
                stuck: SignedDuration::from_secs(60),
                uses: SignedDuration::from_secs(70),
                uses_every: SignedDuration::from_secs(30),
            },
            timer,
        });
        let (recovering, reconciling) = (operations.clone(), Arc::clone(&reconciler));
        tokio::spawn(async move {
            recovering.recover().await.unwrap();
            reconciling.run(CancellationToken::new()).await;
        });
        Self {
            store,
            operations,
            reconciler,
        }
    }
}
