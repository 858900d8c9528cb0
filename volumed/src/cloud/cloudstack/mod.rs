//! The provider `cloudstack`: volumes of Apache CloudStack on KVM, through its signed API and its asynchronous jobs.
//!
//! What guards the volumes, beyond the trait's rules:
//!
//! *One job per volume.* Jobs queue per VM, not per volume, and a detach that was queued and forgotten later clears whatever
//! attachment the volume has by then (apache/cloudstack#14214). So every change reads the volume first and is refused while a
//! job is at work on it, and this process makes one change of a volume at a time. No job is ever given up for its age: it
//! ends when the server says so.
//!
//! *The state decides.* "Already attached", "not attached", a failed job, a job that was lost with its management server: the
//! volume is read again and its state tells what happened. What the state cannot tell is [`CloudError::Unknown`].
//!
//! *Job ids of ours.* A call's id is given to the server as `customjobid`, so a lost answer can be looked up. A server that
//! does not know that parameter answers with an id of its own, which is remembered while the process lives; after that, the
//! volume still shows that some job is at work on it.
//!
//! Device numbers are neither asked for nor believed: they say nothing about what the guest sees. ROOT disks are volumes like
//! others here: a migrated volume becomes one.

mod api;
mod attaching;
mod bounds;
mod classify;
mod clock;
mod command;
mod creating;
mod credentials;
mod diagnosis;
mod envelope;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod http;
mod jobs;
mod locks;
mod lookup;
mod machine;
mod open_error;
mod place;
mod room;
mod signing;
mod snapshots;
mod volume;
mod volumes;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::api::Api;
use self::bounds::SIZE_UNIT;
pub use self::credentials::CredentialsError;
use self::jobs::Jobs;
use self::locks::Locks;
pub use self::open_error::CloudStackOpenError;
use self::place::Place;
use self::room::Room;
use super::{Call, Capabilities, Cloud, CloudError, Fate, NewVolume, ProviderSnapshot, ProviderVolume};
use crate::config::CloudStack as Settings;
use crate::model::{Bytes, Check};

/// What the clocks may drift apart between the measurement and the last moment of a signature, with room to spare; not more
/// than that again for one that is good for less.
const CLOCK_MARGIN: Duration = Duration::from_secs(10);
/// How long the server may be away when the daemon starts.
const START_PATIENCE: Duration = Duration::from_secs(60);
const START_AGAIN: Duration = Duration::from_secs(2);

/// The provider. Cheap to clone.
#[derive(Clone)]
pub struct CloudStack(Arc<Inner>);

struct Inner {
    api: Api,
    settings: Settings,
    place: Place,
    own_vm: OnceCell<String>,
    locks: Locks,
    jobs: Jobs,
    room: Room,
}

impl CloudStack {
    /// Reads the credentials and finds out where and of what volumes are made. Changes nothing at the server.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words that say what there is instead; or that the server could not be asked
    /// within a minute.
    pub async fn open(settings: Settings) -> Result<Self, CloudStackOpenError> {
        let api = api(&settings).await?;
        let deadline = Instant::now() + START_PATIENCE;
        let place = loop {
            match Place::find(&api, &settings).await {
                Ok(place) => break place,
                Err(CloudStackOpenError::Cloud(error))
                    if error.is_transient() && Instant::now() < deadline =>
                {
                    tracing::warn!(%error, "the management server does not answer yet");
                    tokio::time::sleep(START_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self(Arc::new(Inner {
            api,
            settings,
            place,
            own_vm: OnceCell::new(),
            locks: Locks::default(),
            jobs: Jobs::default(),
            room: Room::default(),
        })))
    }

    /// Examines everything that the provider needs, also where it could not be opened. Changes nothing at the server.
    pub async fn examine(settings: &Settings) -> Vec<Check> {
        match api(settings).await {
            Ok(api) => diagnosis::examine(&api, settings, None).await,
            Err(error) => vec![diagnosis::cannot_start(&error)],
        }
    }
}

async fn api(settings: &Settings) -> Result<Api, CloudStackOpenError> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || Api::new(&settings))
        .await
        .expect("reading files does not panic")
}

#[async_trait]
impl Cloud for CloudStack {
    fn provider(&self) -> &'static str {
        "cloudstack"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size_unit: SIZE_UNIT,
            max_size: self.0.place.max_size,
            // Thick volumes on shared storage may hold what was there before.
            fresh_volumes_read_zero: false,
            call_expiry: self.0.settings.expiry + CLOCK_MARGIN.min(self.0.settings.expiry),
        }
    }

    async fn own_vm(&self) -> Result<String, CloudError> {
        let found = self.0.own_vm.get_or_try_init(|| self.0.find_own_vm()).await;
        found.cloned()
    }

    async fn volume(&self, provider_ref: &str) -> Result<Option<ProviderVolume>, CloudError> {
        let found = self.0.read(provider_ref).await?;
        Ok(found.map(|volume| self.0.shown(&volume)))
    }

    async fn volumes_named(&self, name: &str) -> Result<Vec<ProviderVolume>, CloudError> {
        let found = self.0.of_name(name).await?;
        Ok(found.iter().map(|volume| self.0.shown(volume)).collect())
    }

    async fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError> {
        let found = self.0.every_volume().await?;
        Ok(found.iter().map(|volume| self.0.shown(volume)).collect())
    }

    async fn create_volume(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError> {
        self.0.create(call, spec).await
    }

    async fn attach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        self.0.plug(call, provider_ref, vm).await
    }

    async fn detach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        self.0.unplug(call, provider_ref, vm).await
    }

    async fn resize(&self, call: &Call, provider_ref: &str, size: Bytes) -> Result<(), CloudError> {
        self.0.grow(call, provider_ref, size).await
    }

    async fn delete_volume(&self, call: &Call, provider_ref: &str) -> Result<(), CloudError> {
        self.0.delete(call, provider_ref).await
    }

    async fn snapshots(&self, provider_ref: &str) -> Result<Vec<ProviderSnapshot>, CloudError> {
        self.0.list_snapshots(provider_ref).await
    }

    async fn create_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError> {
        self.0.take_snapshot(call, provider_ref, name).await
    }

    async fn revert_to_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        self.0.revert(call, provider_ref, snapshot_ref).await
    }

    async fn delete_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        self.0.remove_snapshot(call, provider_ref, snapshot_ref).await
    }

    async fn fate(&self, call: &Call, provider_ref: Option<&str>) -> Result<Fate, CloudError> {
        self.0.fate_of(call, provider_ref).await
    }

    fn nudge(&self) {
        self.0.jobs.nudge();
    }

    async fn diagnose(&self) -> Vec<Check> {
        let known = self.0.jobs.takes_our_ids();
        diagnosis::examine(&self.0.api, &self.0.settings, known).await
    }
}
