//! Waiting for operations to end, across restarts of the daemon; and changes together with their waiting.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::transport::{decode, is_transient, name, protocol};
use super::{ClientError, ProtocolError, VolumedClient};
use crate::types::{
    AttachResponse, AttachVolume, NewSnapshot, NewVolume, Operation, OperationId, OperationStatus,
    ResizeVolume, SnapshotId, Volume, VolumeId,
};

/// How long operations are waited for when nothing else is said.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(120);

/// No clock can be asked for a time beyond its end.
const FAR_AWAY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// The longest single poll, in seconds. The daemon allows 60.
const LONGEST_POLL: u64 = 30;
/// Between two polls, should the daemon answer at once.
const BETWEEN_POLLS: Duration = Duration::from_millis(250);

impl VolumedClient {
    /// Waits until an operation ended, at most `timeout` ([`DEFAULT_WAIT`] is a good one).
    ///
    /// A daemon that is away meanwhile is waited for: an operation survives its restart. May be called again at
    /// any time, also after the operation ended.
    ///
    /// # Errors
    /// [`ClientError::OperationFailed`] and [`ClientError::OperationCancelled`] when it ended so;
    /// [`ClientError::WaitTimeout`] when it has not ended, which says nothing about how it will end; a problem
    /// `operation_not_found` if there is none.
    pub async fn wait_for_completion(
        &self,
        id: OperationId,
        timeout: Duration,
    ) -> Result<Operation, ClientError> {
        let deadline = Instant::now() + timeout.min(FAR_AWAY);
        let mut last = None;
        let mut trouble = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seconds = left.as_secs().clamp(1, LONGEST_POLL);
            match timeout_at(deadline, self.poll_once(id, seconds)).await {
                Err(_elapsed) => break,
                Ok(Ok(operation)) if operation.status.is_final() => return ended(operation),
                Ok(Ok(operation)) => {
                    last = Some(Box::new(operation));
                    trouble = None;
                }
                Ok(Err(error)) if is_transient(&error) => {
                    tracing::debug!(operation = %id, error = %error, "cannot see the operation, asking again");
                    trouble = Some(Box::new(error));
                }
                Ok(Err(error)) => return Err(error),
            }
            if timeout_at(deadline, sleep(BETWEEN_POLLS)).await.is_err() {
                break;
            }
        }
        Err(ClientError::WaitTimeout {
            operation: id,
            after: timeout,
            last,
            source: trouble,
        })
    }

    async fn poll_once(&self, id: OperationId, seconds: u64) -> Result<Operation, ClientError> {
        let request = self.build(self.poll_operation(id, seconds))?;
        let what = name(&request);
        let patience = self.inner.request_timeout + Duration::from_secs(seconds);
        let answer = self.attempt(request, patience).await?;
        decode(&what, &answer)
    }

    /// Creates a volume and waits for it.
    ///
    /// # Errors
    /// As [`VolumedClient::create_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn create_volume_and_wait(
        &self,
        new: &NewVolume,
        timeout: Duration,
    ) -> Result<Volume, ClientError> {
        let operation = self.create_volume(new).await?;
        let done = self.wait_for_completion(operation.id, timeout).await?;
        self.volume(done.volume_id).await
    }

    /// Attaches a volume and waits until its device is bound. What is returned was observed then; to use the
    /// device, call [`VolumedClient::open_device`].
    ///
    /// # Errors
    /// As [`VolumedClient::attach_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn attach_and_wait(
        &self,
        id: VolumeId,
        attach: &AttachVolume,
        timeout: Duration,
    ) -> Result<AttachResponse, ClientError> {
        let operation = self.attach_volume(id, attach).await?;
        let done = self.wait_for_completion(operation.id, timeout).await?;
        bound_device(&done)
    }

    /// Finds the device of an attached volume anew and waits for the result.
    ///
    /// # Errors
    /// As [`VolumedClient::correlate_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn correlate_and_wait(
        &self,
        id: VolumeId,
        timeout: Duration,
    ) -> Result<AttachResponse, ClientError> {
        let operation = self.correlate_volume(id).await?;
        let done = self.wait_for_completion(operation.id, timeout).await?;
        bound_device(&done)
    }

    /// Detaches a volume and waits until it is.
    ///
    /// # Errors
    /// As [`VolumedClient::detach_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn detach_and_wait(&self, id: VolumeId, timeout: Duration) -> Result<Operation, ClientError> {
        let operation = self.detach_volume(id).await?;
        self.wait_for_completion(operation.id, timeout).await
    }

    /// Deletes a volume and waits until it is gone.
    ///
    /// # Errors
    /// As [`VolumedClient::delete_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn delete_and_wait(
        &self,
        id: VolumeId,
        confirm_name: Option<&str>,
        timeout: Duration,
    ) -> Result<Operation, ClientError> {
        let operation = self.delete_volume(id, confirm_name).await?;
        self.wait_for_completion(operation.id, timeout).await
    }

    /// Makes a volume larger and waits until it is.
    ///
    /// # Errors
    /// As [`VolumedClient::resize_volume`] and [`VolumedClient::wait_for_completion`].
    pub async fn resize_and_wait(
        &self,
        id: VolumeId,
        resize: &ResizeVolume,
        timeout: Duration,
    ) -> Result<Volume, ClientError> {
        let operation = self.resize_volume(id, resize).await?;
        self.wait_for_completion(operation.id, timeout).await?;
        self.volume(id).await
    }

    /// Takes a snapshot and waits until it is there.
    ///
    /// # Errors
    /// As [`VolumedClient::create_snapshot`] and [`VolumedClient::wait_for_completion`].
    pub async fn create_snapshot_and_wait(
        &self,
        volume: VolumeId,
        new: &NewSnapshot,
        timeout: Duration,
    ) -> Result<Operation, ClientError> {
        let operation = self.create_snapshot(volume, new).await?;
        self.wait_for_completion(operation.id, timeout).await
    }

    /// Puts a volume back to a snapshot and waits until it is.
    ///
    /// # Errors
    /// As [`VolumedClient::revert_snapshot`] and [`VolumedClient::wait_for_completion`].
    pub async fn revert_snapshot_and_wait(
        &self,
        volume: VolumeId,
        id: SnapshotId,
        timeout: Duration,
    ) -> Result<Operation, ClientError> {
        let operation = self.revert_snapshot(volume, id).await?;
        self.wait_for_completion(operation.id, timeout).await
    }

    /// Deletes a snapshot and waits until it is gone.
    ///
    /// # Errors
    /// As [`VolumedClient::delete_snapshot`] and [`VolumedClient::wait_for_completion`].
    pub async fn delete_snapshot_and_wait(
        &self,
        volume: VolumeId,
        id: SnapshotId,
        timeout: Duration,
    ) -> Result<Operation, ClientError> {
        let operation = self.delete_snapshot(volume, id).await?;
        self.wait_for_completion(operation.id, timeout).await
    }
}

fn ended(operation: Operation) -> Result<Operation, ClientError> {
    match operation.status {
        OperationStatus::Failed => Err(ClientError::OperationFailed(Box::new(operation))),
        OperationStatus::Cancelled => Err(ClientError::OperationCancelled(Box::new(operation))),
        OperationStatus::Completed | OperationStatus::Pending | OperationStatus::Running => Ok(operation),
    }
}

fn bound_device(operation: &Operation) -> Result<AttachResponse, ClientError> {
    operation.attach_response().ok_or_else(|| {
        let reason = "the completed operation names no device".to_owned();
        protocol(
            &format!("operation {}", operation.id),
            ProtocolError::Content(reason),
        )
    })
}
