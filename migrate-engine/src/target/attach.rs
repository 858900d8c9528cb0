//! A volume's device, opened once it is proven and leased.

use std::time::Duration;

use jiff::Timestamp;
use volume_client::types::{Cursor, ErrorCode, Lease, LeaseAccess, LeasePurpose, VolumeId};
use volume_client::{ClientError, OpenDevice, OpenedDevice};

use super::operation::stopped;
use super::{TargetError, Volumes};

/// Seconds until a lease of ours must be renewed: how long a run that was killed stands in the way of the next one.
const TTL_SECONDS: u32 = 15;
/// How long the lease of somebody who does not renew it is waited for: a time to live, and a little.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Who is told what is waited for.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Opens the device of an attached volume for writing, proven through its descriptor and leased. The lease of a run that
/// was killed is waited for until it lapses; one that is renewed belongs to somebody who lives, and ends the waiting.
///
/// # Errors
/// Where it is not the device that the daemon verified, or somebody else uses it.
pub async fn open(
    volumes: &Volumes<'_>,
    id: VolumeId,
    purpose: LeasePurpose,
    tell: Tell<'_>,
) -> Result<OpenedDevice, TargetError> {
    let holder = format!("migrate-engine pid {}", std::process::id());
    let mut how = OpenDevice::new(LeaseAccess::Write, purpose, holder);
    how.detail = Some(
        volumes
            .subject
            .name()
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
    );
    how.ttl_seconds = Some(TTL_SECONDS);
    let began = tokio::time::Instant::now();
    let mut first: Option<Lease> = None;
    loop {
        let error = match volumes.client.open_device(id, how.clone()).await {
            Ok(device) => return Ok(device),
            Err(error) => error,
        };
        let failed = |source: ClientError| TargetError::Daemon {
            doing: "open the device",
            subject: volumes.subject.to_string(),
            source,
        };
        if error.code() != Some(ErrorCode::VolumeLeased) || began.elapsed() > PATIENCE {
            return Err(failed(error));
        }
        let Some(lease) = writer(volumes, id).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let lives = match &first {
            None => {
                lease.expires_at.duration_since(Timestamp::now()).unsigned_abs() > PATIENCE && !lease.expired
            }
            Some(before) => before.id != lease.id || before.expires_at != lease.expires_at,
        };
        if lives {
            return Err(failed(error));
        }
        if first.is_none() {
            let holder = &lease.holder;
            tell(&format!(
                "waiting for the lease of {holder}, which ends soon unless it is renewed"
            ));
            first = Some(lease);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stopped(volumes.cancel) => return Err(TargetError::Stopped),
        }
    }
}

/// The lease that stands in a writer's way.
async fn writer(volumes: &Volumes<'_>, id: VolumeId) -> Option<Lease> {
    let mut cursor = Cursor::default();
    loop {
        let page = volumes.client.list_leases(&cursor).await.ok()?;
        let stands = |lease: &Lease| lease.volume_id == id && lease.access == LeaseAccess::Write;
        if let Some(lease) = page.items.into_iter().find(stands) {
            return Some(lease);
        }
        cursor.cursor = Some(page.next_cursor?);
    }
}
