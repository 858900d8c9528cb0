//! A volume for a disk: the one that the disk has, or a new one; attached here, and detached again.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use volume_client::types::{AttachVolume, ErrorCode, NewVolume, SourceDisk, Volume, VolumeId, VolumeState};
use volume_client::{ClientError, VolumedClient};

use super::TargetError;
use super::operation::{finish, stopped};
use crate::block::Cancel;
use crate::model::Size;

/// How long a daemon that is away, or a lease of ours that could not be released, is waited for before a volume is left
/// attached.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long somebody may look at a device that we gave back, as udev's probes do.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(200);

/// What a volume is asked for, as people know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A disk that is copied into it.
    Disk(&'a str),
    /// An export that it is published as.
    Export(&'a str),
}

/// The volumes of one disk's copy or of one export: the daemon, and how it is asked.
#[derive(Clone, Copy)]
pub struct Volumes<'a> {
    /// The daemon.
    pub client: &'a VolumedClient,
    /// What they are asked for.
    pub subject: Subject<'a>,
    /// How long an operation is waited for.
    pub timeout: Duration,
    /// Stops what is not done yet; giving back goes on.
    pub cancel: &'a Cancel,
}

/// What is wanted of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The name of a new one.
    pub name: &'a str,
    /// The size of a new one.
    pub size: Size,
}

impl<'a> Subject<'a> {
    /// Its name alone.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Disk(name) | Self::Export(name) => name,
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(disk) => write!(f, "disk `{disk}`"),
            Self::Export(export) => write!(f, "export `{export}`"),
        }
    }
}

impl Volumes<'_> {
    fn failed(&self, doing: &'static str) -> impl FnOnce(ClientError) -> TargetError + use<> {
        let subject = self.subject.to_string();
        move |source| TargetError::Daemon {
            doing,
            subject,
            source,
        }
    }

    /// The volume that the disk has, if any; an operation of a run that was killed is waited for. Changes nothing.
    ///
    /// # Errors
    /// [`TargetError::TooSmall`] where it cannot hold `needs`, [`TargetError::Unusable`] where a person must look at it;
    /// whatever the daemon says.
    pub async fn find(&self, source: &SourceDisk, needs: Size) -> Result<Option<Volume>, TargetError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let found = self.client.volume_of_source(source).await;
            let Some(volume) = found.map_err(self.failed("look for the volume"))? else {
                return Ok(None);
            };
            if volume.size_bytes < needs.0 {
                return Err(TargetError::TooSmall {
                    volume: volume.id,
                    disk: self.subject.name().to_owned(),
                    has: Size(volume.size_bytes),
                    needs,
                });
            }
            let in_between = matches!(
                volume.state,
                VolumeState::Creating
                    | VolumeState::Attaching
                    | VolumeState::Detaching
                    | VolumeState::Extending
                    | VolumeState::Deleting
            );
            match volume.state {
                VolumeState::Available | VolumeState::InUse => return Ok(Some(volume)),
                state if !in_between || Instant::now() > deadline => {
                    return Err(TargetError::Unusable {
                        volume: volume.id,
                        disk: self.subject.name().to_owned(),
                        state,
                    });
                }
                _ => self.pause().await?,
            }
        }
    }

    async fn pause(&self) -> Result<(), TargetError> {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => Ok(()),
            () = stopped(self.cancel) => Err(TargetError::Stopped),
        }
    }

    /// Makes a volume. A run that is killed meanwhile leaves one that [`find`](Self::find) finds.
    ///
    /// # Errors
    /// Whatever the daemon says; [`TargetError::Stopped`].
    pub async fn create(&self, source: &SourceDisk, wanted: &Wanted<'_>) -> Result<Volume, TargetError> {
        const DOING: &str = "create a volume";
        let new = NewVolume {
            name: wanted.name.to_owned(),
            size_bytes: wanted.size.0,
            source: Some(source.clone()),
        };
        let asked = self
            .client
            .create_volume(&new)
            .await
            .map_err(self.failed(DOING))?;
        let done = finish(self.client, &asked, self.timeout, self.cancel).await;
        let done = done.map_err(|unfinished| unfinished.doing(DOING, self.subject))?;
        self.client
            .volume(done.volume_id)
            .await
            .map_err(self.failed("look at the volume"))
    }

    /// Attaches a volume here. One that is attached is verified, and correlated anew where its mapping is stale.
    ///
    /// # Errors
    /// Whatever the daemon says; [`TargetError::Stopped`]. The volume is not attached then, unless it was before or
    /// [`TargetError::is_undecided`] says that it may come to be.
    pub async fn attach(&self, volume: &Volume) -> Result<(), TargetError> {
        if volume.state == VolumeState::InUse {
            return self.verify(volume.id).await;
        }
        const DOING: &str = "attach the volume";
        let status = self.client.status().await;
        let vm_id = status.map_err(self.failed("ask the daemon for its VM"))?.vm_id;
        let asked = self
            .client
            .attach_volume(volume.id, &AttachVolume { vm_id })
            .await;
        let asked = asked.map_err(self.failed(DOING))?;
        let done = finish(self.client, &asked, self.timeout, self.cancel).await;
        done.map(drop)
            .map_err(|unfinished| unfinished.doing(DOING, self.subject))
    }

    async fn verify(&self, id: VolumeId) -> Result<(), TargetError> {
        match self.client.volume_device(id).await {
            Ok(_) => Ok(()),
            Err(error) => match error.code() {
                Some(ErrorCode::DeviceMissing | ErrorCode::DeviceChanged) => self
                    .client
                    .correlate_and_wait(id, self.timeout)
                    .await
                    .map(drop)
                    .map_err(self.failed("correlate the volume")),
                _ => Err(self.failed("verify the device")(error)),
            },
        }
    }

    /// Detaches the volume. Goes on although the work was stopped; a daemon that is away is waited for, and so is a lease
    /// of ours that could not be released. A volume that is not attached is fine.
    ///
    /// # Errors
    /// Whatever the daemon says; the volume then stays attached.
    pub async fn detach(&self, id: VolumeId) -> Result<(), TargetError> {
        let began = Instant::now();
        loop {
            let error = match self.client.detach_and_wait(id, self.timeout).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(ErrorCode::NotAttached) => return Ok(()),
                Err(error) => error,
            };
            if began.elapsed() > patience_with(&error) {
                return Err(self.failed("detach the volume")(error));
            }
            tracing::debug!(volume = %id, %error, "cannot detach yet");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How long an error of detaching may pass by itself.
fn patience_with(error: &ClientError) -> Duration {
    let away = matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::AnswerLost { .. }
    );
    match error.code() {
        _ if away => PATIENCE,
        Some(ErrorCode::OperationInProgress | ErrorCode::NotReady | ErrorCode::VolumeLeased) => PATIENCE,
        Some(ErrorCode::DeviceBusy) => BUSY_PATIENCE,
        _ => Duration::ZERO,
    }
}
