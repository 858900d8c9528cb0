//! A volume for a disk: the one that the disk has, or a new one; attached, and opened only once it is proven.

use std::time::Duration;

use volume_client::types::{
    AttachVolume, ErrorCode, LeaseAccess, LeasePurpose, NewVolume, SourceDisk, Volume, VolumeId, VolumeState,
};
use volume_client::{ClientError, OpenDevice, OpenedDevice, VolumedClient};

use crate::model::Size;

/// Why a volume could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The daemon said no, or did not answer.
    #[error("cannot {doing} for disk `{disk}`")]
    Daemon {
        /// What was tried.
        doing: &'static str,
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The volume that the disk has is too small for it.
    #[error(
        "volume {volume} of disk `{disk}` has {has}, the disk needs {needs}; grow it with `volumectl volumes resize`, or \
         delete it"
    )]
    TooSmall {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Its size.
        has: Size,
        /// What the disk needs at least.
        needs: Size,
    },
    /// The volume is in a state that a person must look at.
    #[error("volume {volume} of disk `{disk}` is {state:?}; see `volumectl volumes show {volume}`")]
    Unusable {
        /// The volume.
        volume: VolumeId,
        /// The disk.
        disk: String,
        /// Its state.
        state: VolumeState,
    },
}

/// A volume that is attached here for one disk.
#[derive(Debug, Clone)]
pub struct TargetVolume {
    /// The volume.
    pub volume: Volume,
    /// Whether the disk had it before.
    pub reused: bool,
    /// Whether it was attached before we came: then it is not ours to detach after a failure.
    pub was_attached: bool,
    disk: String,
}

/// Finds the volume of `source`, or makes one of `size`, and attaches it. Repeating it, also after a crash, finds the
/// same volume.
///
/// # Errors
/// [`TargetError::TooSmall`] where the disk's volume cannot hold `needs`; whatever the daemon says.
pub async fn provision(
    client: &VolumedClient,
    source: &SourceDisk,
    wanted: &Wanted<'_>,
    timeout: Duration,
) -> Result<TargetVolume, TargetError> {
    let failed = |doing| {
        move |e: ClientError| TargetError::Daemon {
            doing,
            disk: source.disk.clone(),
            source: e,
        }
    };
    let vm_id = client.status().await.map_err(failed("ask the daemon"))?.vm_id;
    let found = client
        .volume_of_source(source)
        .await
        .map_err(failed("look for the volume"))?;
    let reused = found.is_some();
    let volume = match found {
        Some(volume) => volume,
        None => {
            let new = NewVolume {
                name: wanted.name.to_owned(),
                size_bytes: wanted.size.0,
                source: Some(source.clone()),
            };
            client
                .create_volume_and_wait(&new, timeout)
                .await
                .map_err(failed("create a volume"))?
        }
    };
    if volume.size_bytes < wanted.needs.0 {
        let (has, needs) = (Size(volume.size_bytes), wanted.needs);
        return Err(TargetError::TooSmall {
            volume: volume.id,
            disk: source.disk.clone(),
            has,
            needs,
        });
    }
    let was_attached = volume.state == VolumeState::InUse;
    match volume.state {
        VolumeState::InUse => hold(client, volume.id, timeout)
            .await
            .map_err(failed("verify the device"))?,
        VolumeState::Available => {
            let attach = AttachVolume { vm_id };
            client
                .attach_and_wait(volume.id, &attach, timeout)
                .await
                .map_err(failed("attach the volume"))?;
        }
        state => {
            return Err(TargetError::Unusable {
                volume: volume.id,
                disk: source.disk.clone(),
                state,
            });
        }
    }
    let volume = client
        .volume(volume.id)
        .await
        .map_err(failed("look at the volume"))?;
    Ok(TargetVolume {
        volume,
        reused,
        was_attached,
        disk: source.disk.clone(),
    })
}

/// What is wanted of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The name of a new one.
    pub name: &'a str,
    /// The size of a new one.
    pub size: Size,
    /// What it must hold at least.
    pub needs: Size,
}

/// That the volume's recorded device is still the right one; where the mapping is stale it is correlated anew.
async fn hold(client: &VolumedClient, id: VolumeId, timeout: Duration) -> Result<(), ClientError> {
    match client.volume_device(id).await {
        Ok(_) => Ok(()),
        Err(error) => match error.code() {
            Some(ErrorCode::DeviceMissing | ErrorCode::DeviceChanged) => {
                client.correlate_and_wait(id, timeout).await.map(drop)
            }
            _ => Err(error),
        },
    }
}

impl TargetVolume {
    /// Opens the device for writing, proven through its descriptor and leased.
    ///
    /// # Errors
    /// Where it is not the device that the daemon verified, or somebody else uses it.
    pub async fn open(
        &self,
        client: &VolumedClient,
        purpose: LeasePurpose,
        detail: &str,
    ) -> Result<OpenedDevice, TargetError> {
        let mut open = OpenDevice::new(LeaseAccess::Write, purpose, holder());
        open.detail = Some(detail.chars().take(200).collect());
        client
            .open_device(self.volume.id, open)
            .await
            .map_err(|source| TargetError::Daemon {
                doing: "open the device",
                disk: self.disk.clone(),
                source,
            })
    }

    /// Detaches the volume.
    ///
    /// # Errors
    /// Whatever the daemon says; the volume then stays attached.
    pub async fn detach(&self, client: &VolumedClient, timeout: Duration) -> Result<(), TargetError> {
        client
            .detach_and_wait(self.volume.id, timeout)
            .await
            .map(drop)
            .map_err(|source| TargetError::Daemon {
                doing: "detach the volume",
                disk: self.disk.clone(),
                source,
            })
    }
}

fn holder() -> String {
    format!("migrate-engine pid {}", std::process::id())
}
