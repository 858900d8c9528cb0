//! The door to operations: submit, cancel, ask for a verified device, take a lease.

use std::sync::Arc;

use crate::model::{LeaseAccess, LeasePurpose, OperationId, Request, VolumeId};
use crate::store::{Asker, Key, LeaseRecord, OperationRecord};

use super::{ConditionRecord, DeviceView, OperationError, VerifiedDevice};

/// The operations of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    _inner: Arc<()>,
}

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The volume; `None` to create one.
    pub volume_id: Option<VolumeId>,
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub asker: Asker,
    /// The client's idempotency key.
    pub key: Option<Key>,
}

/// What is asked of a new lease.
#[derive(Debug, Clone)]
pub struct NewLease {
    /// The volume.
    pub volume_id: VolumeId,
    /// What for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it.
    pub holder: String,
    /// More about it.
    pub detail: Option<String>,
    /// Seconds between renewals.
    pub ttl_seconds: u32,
}

#[allow(clippy::unimplemented, clippy::unused_async, missing_docs)]
impl Operations {
    /// Admits and starts an operation; the same key and request give the same operation again.
    pub async fn submit(&self, _submission: Submission) -> Result<OperationRecord, OperationError> {
        unimplemented!()
    }
    /// Asks that an operation be withdrawn.
    pub async fn cancel(&self, _id: OperationId, _asker: Asker) -> Result<OperationRecord, OperationError> {
        unimplemented!()
    }
    /// The volume's device, verified now. Marks the volume as handed out.
    pub async fn device(&self, _volume: VolumeId) -> Result<VerifiedDevice, OperationError> {
        unimplemented!()
    }
    /// Takes a lease (same key and request: the same lease again).
    pub async fn acquire_lease(
        &self,
        _new: NewLease,
        _asker: Asker,
        _key: Option<Key>,
    ) -> Result<(LeaseRecord, VerifiedDevice), OperationError> {
        unimplemented!()
    }
    /// The devices of this machine.
    pub async fn devices(&self) -> Result<Vec<DeviceView>, OperationError> {
        unimplemented!()
    }
    /// Whether the daemon holds the volume's device open.
    pub fn is_pinned(&self, _volume: VolumeId) -> bool {
        unimplemented!()
    }
    /// How many devices are held open.
    pub fn pinned(&self) -> usize {
        unimplemented!()
    }
    /// What is not as it should be with this volume.
    pub fn conditions(&self, _volume: VolumeId) -> Vec<ConditionRecord> {
        unimplemented!()
    }
    /// The VM that this daemon runs in.
    pub fn own_vm(&self) -> &str {
        unimplemented!()
    }
    /// The present boot.
    pub fn boot_id(&self) -> &str {
        unimplemented!()
    }
    /// The provider's name.
    pub fn provider(&self) -> &'static str {
        unimplemented!()
    }
    /// Readiness of cloud, watcher and recovery: name, whether it is good, what was seen.
    pub async fn checks(&self) -> Vec<(&'static str, bool, String)> {
        unimplemented!()
    }
    /// Lets running steps reach a recorded point, starts nothing new, and returns when all has come to rest.
    pub async fn shut_down(&self) {
        unimplemented!()
    }
}
