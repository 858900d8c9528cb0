//! What operations work on: the store, the cloud, the kernel, the pins, and the rules of this installation.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::conditions::Conditions;
use super::kernel::Kernel;
use super::observer::Observer;
use super::pins::Pins;
use crate::cloud::{Cloud, CloudError, ProviderVolume};
use crate::model::{ErrorCode, Failure, VolumeId, cloud_name};
use crate::store::{self, MappingRecord, Store, StoreError, VolumeRecord};

/// Everything that steps and answers need.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) cloud: Arc<dyn Cloud>,
    pub(super) kernel: Kernel,
    pub(super) pins: Pins,
    pub(super) conditions: Conditions,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) settings: Settings,
    /// The VM that this daemon runs in, as the cloud names it.
    pub(super) own_vm: String,
    /// The present boot.
    pub(super) boot_id: String,
    /// Marks what this installation made in the cloud.
    pub(super) install_id: String,
}

/// The rules of this installation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many operations run at once.
    pub concurrency: usize,
    /// How long an attach waits for its device (2 minutes by default).
    pub attach_timeout: Duration,
    /// How long a step waits for a cloud that surely did nothing before its operation fails.
    pub cloud_patience: Duration,
    /// What is taken for proof that a device is a volume's.
    pub identity: IdentityPolicy,
}

/// What is taken for proof that a device is a volume's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdentityPolicy {
    /// Only an identity that the disk itself carries.
    #[default]
    Carried,
    /// Where a disk carries none: that it alone appeared after our attach, with the exact size.
    Appearance,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            attach_timeout: Duration::from_secs(120),
            cloud_patience: Duration::from_secs(120),
            identity: IdentityPolicy::Carried,
        }
    }
}

impl World {
    /// How long after it was made a call can still begin to land.
    pub(super) fn call_expiry(&self) -> SignedDuration {
        SignedDuration::try_from(self.cloud.capabilities().call_expiry).unwrap_or(SignedDuration::MAX)
    }

    /// The name that a volume of ours has in the cloud: says whose it is, and finds it when an answer was lost.
    pub(super) fn cloud_name(&self, volume: VolumeId) -> String {
        cloud_name(&self.install_id, volume)
    }

    /// What the volume is bound to now, by the records.
    pub(super) async fn live_mapping(&self, volume: VolumeId) -> Result<Option<MappingRecord>, StoreError> {
        self.store
            .read(move |conn| store::mappings::live(conn, volume))
            .await
    }

    /// The volume as the cloud has it; `None` where the cloud surely no longer has it.
    pub(super) async fn in_cloud(&self, volume: &VolumeRecord) -> Result<Option<ProviderVolume>, CloudError> {
        match &volume.provider_ref {
            Some(provider_ref) => self.cloud.volume(provider_ref).await,
            None => Ok(None),
        }
    }
}

/// The volume's own id in the cloud, without which nothing can be asked of the cloud.
pub(super) fn provider_ref(volume: &VolumeRecord) -> Result<&str, Failure> {
    let missing = || {
        Failure::new(
            ErrorCode::WrongState,
            format!("volume {} was never made in the cloud", volume.id),
        )
    };
    volume.provider_ref.as_deref().ok_or_else(missing)
}

/// That the cloud no longer has the volume.
pub(super) fn gone(volume: &VolumeRecord) -> Failure {
    let text = format!(
        "the cloud no longer has volume {} ({})",
        volume.id,
        volume.provider_ref.as_deref().unwrap_or("never made")
    );
    Failure::new(ErrorCode::CloudRefused, text)
        .hint("somebody deleted it in the cloud; nothing here can bring it back")
}
