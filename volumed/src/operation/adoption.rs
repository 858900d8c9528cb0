//! Adopting: a volume that the cloud has and no record is of gets one, when a person says so.
//!
//! What is on it is not known, so it counts as written and as handed out: it is deleted only by name, and never taken to read
//! as zeroes. Where it is attached here, that attachment is taken over through the steps of an attach.

use super::step::StepError;
use super::submission::Submission;
use super::world::World;
use super::{OperationError, Operations};
use crate::cloud::{ProviderState, ProviderVolume};
use crate::model::{Bytes, ErrorCode, Failure, OperationId, Request, VolumeId, VolumeState};
use crate::store::volumes::{NewRow, Provided};
use crate::store::{self, Asker, AuditEntry, Key, KeyedResource, OperationRecord, Replay, StoreError, Tx};

/// What is to be adopted.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// The provider's own id of the volume.
    pub provider_volume_id: String,
    /// The name that it is to have here.
    pub name: String,
}

impl Operations {
    /// Starts the adoption of a volume. The same key and request give the same operation again, also after a crash.
    ///
    /// # Errors
    /// Refused where the cloud does not have the volume or it must not be ours; nothing is recorded then.
    pub async fn adopt(
        &self,
        adoption: Adoption,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<OperationRecord, OperationError> {
        self.recovery.require()?;
        // Looked up before the cloud is asked: what it says of a volume that is being adopted is not what it said then.
        if let Some(earlier) = self.replayed(key.clone()).await? {
            return Ok(earlier);
        }
        let seen = self.world.cloud.volume(&adoption.provider_volume_id).await;
        let seen = seen.map_err(|error| unanswered(StepError::from(error)))?;
        let seen = judge(seen, &adoption.provider_volume_id, &self.world.own_vm)?;
        let request = Request::Adopt {
            provider_volume_id: seen.provider_ref,
            name: adoption.name,
            size_bytes: seen.size.0,
            attached: seen.attached_to.is_some(),
        };
        self.submit(Submission {
            volume_id: None,
            request,
            asker,
            key,
        })
        .await
    }

    /// The operation that this key and request led to before.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub async fn replayed(&self, key: Option<Key>) -> Result<Option<OperationRecord>, OperationError> {
        let Some(key) = key else { return Ok(None) };
        let found = self.world.store.read(move |conn| {
            let Replay::Same(id) = store::idempotency::look_up(conn, &key, KeyedResource::Operation)? else {
                return Ok(None);
            };
            match id.parse::<OperationId>() {
                Ok(id) => store::operations::get(conn, id),
                Err(_) => Ok(None),
            }
        });
        Ok(found.await?)
    }
}

fn unanswered(error: StepError) -> OperationError {
    match error {
        StepError::Failed(failure) | StepError::Conflict(failure) => failure.into(),
        other => Failure::new(ErrorCode::CloudUnavailable, other.to_string())
            .hint("nothing was recorded; try again when the cloud answers")
            .into(),
    }
}

/// The volume, where it may be adopted.
pub(super) fn judge(
    seen: Option<ProviderVolume>,
    provider_ref: &str,
    own_vm: &str,
) -> Result<ProviderVolume, Failure> {
    let missing = || {
        let text = format!("the provider has no volume `{provider_ref}`");
        Failure::new(ErrorCode::ProviderVolumeNotFound, text)
            .hint("`volumectl orphans list` shows the volumes that can be adopted")
    };
    let seen = seen.ok_or_else(missing)?;
    let refused = |why: &str, hint: &str| {
        let text = format!("volume `{provider_ref}` cannot be adopted: {why}");
        Failure::new(ErrorCode::WrongState, text).hint(hint)
    };
    if seen.is_root {
        return Err(refused(
            "it is the disk that a VM boots from, or may be",
            "adopt data disks only; a root disk is detached from its VM first",
        ));
    }
    if let Some(vm) = seen.attached_to.as_ref().filter(|vm| *vm != own_vm) {
        let text = format!("volume `{provider_ref}` cannot be adopted: it is attached to VM `{vm}`");
        return Err(Failure::new(ErrorCode::AttachedElsewhere, text)
            .hint("detach it there; it is never taken from another VM"));
    }
    match &seen.state {
        ProviderState::Allocated | ProviderState::Ready => Ok(seen),
        ProviderState::Destroyed => Err(refused(
            "the cloud is deleting it",
            "have it recovered in the cloud first, where that is still possible",
        )),
        ProviderState::Creating => Err(refused("the cloud is making it", "try again when it is made")),
        ProviderState::Busy(what) => Err(refused(
            &format!("the cloud is at work on it ({what})"),
            "try again when that has ended",
        )),
        ProviderState::Unusable(why) => Err(refused(
            &format!("it is of no use: {why}"),
            "have it repaired in the cloud first",
        )),
    }
}

/// Records the volume that an adoption is about. Its provider's id is taken from here on: a second adoption is refused.
pub(super) fn new_record(tx: &Tx<'_>, world: &World, request: &Request) -> Result<VolumeId, OperationError> {
    let Request::Adopt {
        provider_volume_id,
        name,
        size_bytes,
        ..
    } = request
    else {
        return Err(Failure::new(ErrorCode::Internal, "only an adoption names a provider's volume").into());
    };
    if let Some(known) = store::volumes::by_provider_ref(tx, provider_volume_id)? {
        if known.state != VolumeState::Deleted {
            return Err(already_recorded(provider_volume_id, known.id).into());
        }
        release_tombstone(tx, known.id, provider_volume_id)?;
    }
    let id = VolumeId::new();
    let row = NewRow {
        name,
        size: Bytes(*size_bytes),
        source: None,
    };
    store::volumes::insert(tx, id, world.cloud.provider(), &row)?;
    let provided = Provided {
        provider_ref: provider_volume_id,
        identity: None,
        size: Bytes(*size_bytes),
        fresh_zero: false,
    };
    store::volumes::set_provided(tx, id, &provided)?;
    Ok(id)
}

/// That the provider's volume has a record.
pub(super) fn already_recorded(provider_ref: &str, id: VolumeId) -> Failure {
    let text = format!("volume `{provider_ref}` is recorded already, as {id}");
    Failure::new(ErrorCode::AlreadyRecorded, text)
        .hint(format!("`volumectl explain {id}` shows how it stands"))
}

/// A tombstone gives up the volume that somebody brought back in the cloud.
fn release_tombstone(tx: &Tx<'_>, tombstone: VolumeId, provider_ref: &str) -> Result<(), StoreError> {
    store::volumes::forget(tx, tombstone)?;
    store::audit::append(
        tx,
        &AuditEntry {
            actor: "volumed",
            action: "tombstone_released",
            volume_id: Some(tombstone),
            why: Some("its volume is in the cloud again and is adopted under a new id"),
            before: Some(provider_ref),
            ..AuditEntry::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(state: ProviderState, attached_to: Option<&str>) -> ProviderVolume {
        ProviderVolume {
            provider_ref: "p".into(),
            name: "theirs".into(),
            is_root: false,
            size: Bytes::GIB,
            state,
            attached_to: attached_to.map(str::to_owned),
            attachment_mark: None,
            identity: None,
        }
    }

    fn code(seen: Option<ProviderVolume>) -> Result<(), ErrorCode> {
        judge(seen, "p", "here").map(drop).map_err(|failure| failure.code)
    }

    #[test]
    fn a_volume_that_is_free_or_attached_here_is_adopted_and_no_other() {
        use ProviderState::{Allocated, Busy, Creating, Destroyed, Ready, Unusable};
        for state in [Ready, Allocated] {
            assert_eq!(code(Some(volume(state, None))), Ok(()));
        }
        assert_eq!(code(Some(volume(Ready, Some("here")))), Ok(()));
        assert_eq!(
            code(Some(volume(Ready, Some("there")))),
            Err(ErrorCode::AttachedElsewhere)
        );
        for state in [
            Creating,
            Destroyed,
            Busy("a job".into()),
            Unusable("broken".into()),
        ] {
            assert_eq!(code(Some(volume(state, None))), Err(ErrorCode::WrongState));
        }
        assert_eq!(code(None), Err(ErrorCode::ProviderVolumeNotFound));
    }

    #[test]
    fn a_root_disk_is_never_adopted() {
        let root = ProviderVolume {
            is_root: true,
            ..volume(ProviderState::Ready, Some("here"))
        };
        assert_eq!(code(Some(root)), Err(ErrorCode::WrongState));
    }
}
