//! The server as tests have it: started, asked what it knows, disturbed, and stopped with all that it made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::account::{Credentials, Role, User};
use super::caller::Caller;
use super::cloud::Cloud;
use super::connection::{CuttableListener, Scissors};
use super::fault::Faults;
use super::gateway;
use super::job::Job;
use super::ledger::{Received, Violation};
use super::settings::{Settings, Setup};
use super::state::Snapshot;
use super::stranger::Stranger;
use super::volume::Volume;
use crate::Disk;

/// How long work that was begun may take to end with the server.
const ENDING: Duration = Duration::from_secs(5);

/// A CloudStack that runs. It has a runtime of its own, so that a test may block. Everything stops when it is dropped.
#[derive(Debug)]
pub struct CloudStackServer {
    address: SocketAddr,
    cloud: Arc<Cloud>,
    first_vm: Uuid,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    handle: tokio::runtime::Handle,
}

/// What the server has in its database, at one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// All volumes, removed ones too.
    pub volumes: Vec<Volume>,
    /// All snapshots, removed ones too.
    pub snapshots: Vec<Snapshot>,
    /// All jobs, in the order they were taken.
    pub jobs: Vec<Job>,
    /// All requests, in the order they came.
    pub received: Vec<Received>,
}

impl CloudStackServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Where it cannot listen or has no place for files.
    pub async fn start(setup: Setup) -> Self {
        let cloud = Arc::new(Cloud::new(&setup).expect("there is a place for files"));
        let first_vm = *cloud
            .state()
            .vms
            .keys()
            .next()
            .expect("the first VM was just added");
        let (started, starting) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        let serving = Arc::clone(&cloud);
        let thread = std::thread::Builder::new()
            .name("fake-cloudstack".to_owned())
            .spawn(move || live(serving, setup.address, started, stopping))
            .expect("a thread can be started");
        let (address, handle) = starting.await.expect("the server listens");
        Self {
            address,
            cloud,
            first_vm,
            stop: Some(stop),
            thread: Some(thread),
            handle,
        }
    }

    /// The endpoint of the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/client/api", self.address)
    }

    /// The API key of the first account's user.
    #[must_use]
    pub fn api_key(&self) -> String {
        self.credentials("mig").api_key
    }

    /// The secret key of the first account's user.
    #[must_use]
    pub fn secret_key(&self) -> String {
        self.credentials("mig").secret_key
    }

    /// The keys of the first user of an account: `mig`, `other` or `admin`.
    ///
    /// # Panics
    /// Where there is no such account.
    #[must_use]
    pub fn credentials(&self, account: &str) -> Credentials {
        let state = self.cloud.state();
        let account = state
            .accounts
            .iter()
            .find(|known| known.name == account)
            .expect("there is such an account");
        let user = state.users.iter().find(|user| user.account == account.id);
        user.expect("every account has a user").credentials.clone()
    }

    /// Another key of the first account, which may call less (or more).
    #[must_use]
    pub fn add_key(&self, role: Role) -> Credentials {
        let mut state = self.cloud.state();
        let user = User::new(state.users[0].account, role);
        state.users.push(user.clone());
        user.credentials
    }

    /// A plain client with these keys.
    #[must_use]
    pub fn caller(&self, credentials: Credentials) -> Caller {
        Caller::new(self.url(), credentials)
    }

    /// The first VM: the appliance.
    #[must_use]
    pub fn vm_id(&self) -> Uuid {
        self.first_vm
    }

    /// The zone.
    #[must_use]
    pub fn zone_id(&self) -> Uuid {
        self.cloud.places.zone
    }

    /// The disk offering `Custom`, whose size is the caller's.
    #[must_use]
    pub fn offering_id(&self) -> Uuid {
        self.cloud.places.custom_offering
    }

    /// The disk offering `Small`, of 5 GiB.
    #[must_use]
    pub fn fixed_offering_id(&self) -> Uuid {
        self.cloud.places.fixed_offering
    }

    /// The project `moves`.
    #[must_use]
    pub fn project_id(&self) -> Uuid {
        self.cloud.places.project
    }

    /// What is to go wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.cloud.faults.clone()
    }

    /// Somebody else who works in the user interface.
    #[must_use]
    pub fn stranger(&self) -> Stranger {
        Stranger::new(Arc::clone(&self.cloud), self.handle.clone())
    }

    /// Changes what can be changed.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.cloud.state().settings);
    }

    /// Sets the server's clock ahead of this machine's, or behind.
    pub fn set_clock_ahead(&self, by: SignedDuration) {
        self.cloud.clock.set_ahead(by);
    }

    /// Restarts the management server: running jobs are failed without a result, volumes under way are `Ready` again,
    /// and what the hypervisor is doing goes on unseen.
    pub fn restart(&self) {
        self.cloud.restart();
    }

    /// Forgets every job that has ended, as a day does.
    pub fn expunge_jobs(&self) {
        for job in self.cloud.state().jobs.iter_mut().filter(|job| !job.is_pending()) {
            job.expunged = true;
        }
    }

    /// What the database has now.
    #[must_use]
    pub fn snapshot(&self) -> World {
        let state = self.cloud.state();
        World {
            volumes: state.volumes.all().cloned().collect(),
            snapshots: state.snapshots.values().cloned().collect(),
            jobs: state.jobs.clone(),
            received: state.ledger.received(),
        }
    }

    /// A volume; `None` where there never was one.
    #[must_use]
    pub fn volume(&self, id: Uuid) -> Option<Volume> {
        self.cloud.state().volumes.get(id).cloned()
    }

    /// The disk of a volume, as a hypervisor is given it.
    #[must_use]
    pub fn disk(&self, id: Uuid) -> Option<Disk> {
        let volume = self.volume(id)?;
        Some(Disk {
            serial: volume.serial(),
            image: self.cloud.file(id),
        })
    }

    /// The rules that a client broke so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.cloud.state().ledger.violations()
    }
}

impl Drop for CloudStackServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The life of the server's thread.
fn live(
    cloud: Arc<Cloud>,
    address: SocketAddr,
    started: oneshot::Sender<(SocketAddr, tokio::runtime::Handle)>,
    stopping: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fake-cloudstack")
        .enable_all()
        .build()
        .expect("a runtime can be started");
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let app = Router::new()
            .route("/client/api", any(gateway::handle))
            .with_state(cloud);
        let service = app.into_make_service_with_connect_info::<Scissors>();
        let serving = tokio::spawn(axum::serve(CuttableListener(listener), service).into_future());
        // Whoever starts the server may have gone.
        let _ = started.send((address, tokio::runtime::Handle::current()));
        let _ = stopping.await;
        serving.abort();
    });
    runtime.shutdown_timeout(ENDING);
}
