//! A volume's device, leased, opened and proven; held by a lease that renews itself until it is closed.
//!
//! Order of things, whatever ends them: lease → open → proof → use → flush → close → release. The descriptor is
//! always closed before the lease is released, also by `Drop`. A process that dies closes its descriptor by dying,
//! and its lease ends when it is not renewed.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at};

use super::proof::{open_proven, prove};
use super::{ClientError, VolumedClient};
use crate::types::{
    ErrorCode, Lease, LeaseAccess, LeaseGrant, LeaseId, LeasePurpose, NewLease, RenewLease, VolumeDevice,
    VolumeId,
};

/// How a device is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDevice {
    /// Reading only, or writing.
    pub access: LeaseAccess,
    /// What it is for.
    pub purpose: LeasePurpose,
    /// Who holds it, for people (1 to 200 characters).
    pub holder: String,
    /// More about it: the job, the export.
    pub detail: Option<String>,
    /// Seconds between renewals at most, 5 to 86400; a third of it is the pace of renewing. 60 where absent.
    pub ttl_seconds: Option<u32>,
}

impl OpenDevice {
    /// Without `detail`, with the default time to live.
    #[must_use]
    pub fn new(access: LeaseAccess, purpose: LeasePurpose, holder: impl Into<String>) -> Self {
        Self {
            access,
            purpose,
            holder: holder.into(),
            detail: None,
            ttl_seconds: None,
        }
    }
}

/// A volume's device, open, proven and leased.
///
/// [`OpenedDevice::close`] flushes and releases; dropping it closes the descriptor without flushing it and releases
/// the lease in the background as well as that goes.
#[derive(Debug)]
#[must_use = "dropping it closes the device"]
pub struct OpenedDevice {
    // The order matters: fields are dropped from first to last, and the descriptor goes before the lease.
    file: File,
    held: HeldLease,
    grant: LeaseGrant,
}

impl VolumedClient {
    /// Takes a lease on an attached volume's device, opens the device exclusively, and proves through the
    /// descriptor that it is the very device that the daemon verified: device number, boot, `diskseq`, size, and
    /// identity. Renews the lease in the background until the device is closed.
    ///
    /// The exclusive claim (`O_EXCL`) is refused while the device is mounted, held by the kernel, or claimed by
    /// somebody else, **also when both only read**. Needs the right to open block devices, and a tokio runtime.
    ///
    /// # Errors
    /// All of [`VolumedClient::take_lease`]; [`ClientError::DeviceBusy`], [`ClientError::DeviceIo`] and
    /// [`ClientError::DeviceMismatch`], after which the device is closed and the lease released.
    pub async fn open_device(&self, volume: VolumeId, open: OpenDevice) -> Result<OpenedDevice, ClientError> {
        let access = open.access;
        let new = NewLease {
            volume_id: volume,
            purpose: open.purpose,
            access,
            holder: open.holder,
            detail: open.detail,
            ttl_seconds: open.ttl_seconds,
        };
        let grant = self.take_lease(&new).await?;
        let held = HeldLease::hold(self.without_key(), &grant.lease);
        let device = grant.device.clone();
        let path = PathBuf::from(&device.device_path);
        let opened = run_blocking(path, move || open_proven(&device, access)).await;
        match opened {
            Ok(file) => Ok(OpenedDevice { file, held, grant }),
            Err(error) => {
                held.release_or_warn().await;
                Err(error)
            }
        }
    }
}

impl OpenedDevice {
    /// The device, opened for blocking, buffered access (`O_DIRECT` can be set with `fcntl`).
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another descriptor of the same opening, for an exporter or a thread. The exclusive claim lives as long as
    /// the last of them: close it before [`OpenedDevice::close`], which promises that nobody uses the device.
    ///
    /// # Errors
    /// The process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The lease as it was granted.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.grant.lease
    }

    /// The device as the daemon verified it and the descriptor confirmed it.
    #[must_use]
    pub fn device(&self) -> &VolumeDevice {
        &self.grant.device
    }

    /// Whether the volume still reads as zeroes throughout, by the provider's promise.
    #[must_use]
    pub fn known_zero(&self) -> bool {
        self.grant.known_zero
    }

    /// Proves again, through the open descriptor, that it is the volume's device. What was read is the volume's only if this
    /// succeeds *afterwards*: a descriptor of a SCSI disk leads to whatever disk the hypervisor puts at its address, until
    /// the kernel notices (`docs/cloudstack.md`).
    ///
    /// # Errors
    /// [`ClientError::DeviceMismatch`] and [`ClientError::DeviceIo`]: what was read may be another disk's, and what was
    /// written may have gone there.
    pub async fn confirm(&self) -> Result<(), ClientError> {
        let path = PathBuf::from(&self.grant.device.device_path);
        let (device, file) = (self.grant.device.clone(), self.file.try_clone());
        let file = file.map_err(|source| ClientError::DeviceIo {
            what: "use",
            path: path.clone(),
            source,
        })?;
        run_blocking(path, move || prove(&file, &device)).await
    }

    /// Whether the daemon ended the lease under us: stop, for the volume may be given to others. A daemon that
    /// cannot be reached does not make a lease lost: it still counts while the device is open.
    #[must_use]
    pub fn lost(&self) -> bool {
        *self.held.lost.borrow()
    }

    /// Ends when the lease is lost; never otherwise.
    pub fn wait_lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut lost = self.held.lost.clone();
        async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Flushes (`fsync`), proves the device once more as [`OpenedDevice::confirm`] does, closes, and releases the lease, in
    /// that order; closing and releasing are done whatever happened before.
    ///
    /// # Errors
    /// [`ClientError::DeviceIo`] if flushing failed: what was written may not be on the disk.
    /// [`ClientError::DeviceMismatch`] if it is not the volume's device any more. Else what releasing met; the device is closed all the same, and a lease that was lost is no error here.
    pub async fn close(self) -> Result<(), ClientError> {
        let Self { file, held, grant } = self;
        let device = grant.device;
        let path = PathBuf::from(&device.device_path);
        let flushed = run_blocking(path.clone(), move || {
            file.sync_all().map_err(|source| ClientError::DeviceIo {
                what: "flush",
                path,
                source,
            })?;
            prove(&file, &device)
        })
        .await;
        if let Err(error) = flushed {
            held.release_or_warn().await;
            return Err(error);
        }
        held.release().await
    }
}

/// A lease that is renewed until this is dropped, and then released.
#[derive(Debug)]
struct HeldLease {
    client: VolumedClient,
    id: LeaseId,
    renewing: JoinHandle<()>,
    lost: watch::Receiver<bool>,
    released: Released,
}

#[derive(Debug, PartialEq, Eq)]
enum Released {
    NotYet,
    Asked,
}

impl HeldLease {
    fn hold(client: VolumedClient, lease: &Lease) -> Self {
        let (tell, lost) = watch::channel(false);
        let renewing = tokio::spawn(renew(client.clone(), lease.id, pace(lease), tell));
        Self {
            client,
            id: lease.id,
            renewing,
            lost,
            released: Released::NotYet,
        }
    }

    async fn release(mut self) -> Result<(), ClientError> {
        self.renewing.abort();
        let result = self.client.release_lease(self.id).await;
        // Only now: when this future is dropped half-way, `Drop` tries again.
        self.released = Released::Asked;
        match result {
            Err(error) if error.code() == Some(ErrorCode::LeaseNotFound) => Ok(()),
            other => other,
        }
    }

    async fn release_or_warn(self) {
        let id = self.id;
        if let Err(error) = self.release().await {
            tracing::warn!(lease = %id, error = %error, "cannot release the lease; it ends when it is not renewed");
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.renewing.abort();
        if self.released == Released::Asked {
            return;
        }
        let (client, id) = (self.client.clone(), self.id);
        // Outside a runtime nothing can be sent: the lease then ends by not being renewed.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = client.release_lease(id).await {
                    tracing::debug!(lease = %id, error = %error, "cannot release the lease of a dropped device");
                }
            });
        }
    }
}

/// A third of the lease's time to live, between 1 s and an hour.
fn pace(lease: &Lease) -> Duration {
    let ttl = lease.expires_at.duration_since(lease.acquired_at);
    let third = Duration::try_from(ttl).unwrap_or_default() / 3;
    third.clamp(Duration::from_secs(1), Duration::from_secs(3600))
}

async fn renew(client: VolumedClient, id: LeaseId, pace: Duration, lost: watch::Sender<bool>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + pace, pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match client.renew_lease(id, &RenewLease::default()).await {
            Ok(_lease) => {}
            Err(error) if error.code() == Some(ErrorCode::LeaseNotFound) => {
                tracing::warn!(lease = %id, "the daemon ended the lease");
                lost.send_replace(true);
                return;
            }
            Err(error) => tracing::warn!(lease = %id, error = %error, "cannot renew the lease, trying again"),
        }
    }
}

async fn run_blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(cancelled) => Err(ClientError::DeviceIo {
                what: "use",
                path,
                source: io::Error::other(cancelled),
            }),
        },
    }
}
