//! The first start on a restored database, whose rows are older than the world: nothing is taken at its word.
//!
//! What was under way when the copy was made has ended since, one way or the other, and may have been undone after that; so it is
//! neither gone on with nor undone (either would be a call on a belief of then). It ends as failed with `database_restored`, its
//! idempotency key stays. No device is held or handed out, nothing counts as attached, every volume counts as written to and
//! handed out. Tokens are revoked. A volume is *unproven* until cloud and kernel were asked about it, after the time in which a call that nobody
//! knows of can still land; until then nothing about it is admitted (`docs/adr/0013-a-restored-database-is-a-claim.md`).

use jiff::SignedDuration;

use super::service::Operations;
use super::{OperationError, lease};
use crate::cloud::ProviderVolume;
use crate::model::{AttachmentState, ErrorCode, Failure, SnapshotState, VolumeId, VolumeState};
use crate::store::volumes::Provided;
use crate::store::{self, AuditEntry, StoreError, Tx, VolumeRecord};

const WHY: &str = "the database was restored";

/// Goes through the records of a database that was restored since the last start. One transaction, done once.
pub(super) fn take_over(tx: &Tx<'_>, expiry: SignedDuration) -> Result<(), StoreError> {
    let Some(of) = store::restored::mark(tx)? else {
        return Ok(());
    };
    tracing::warn!(
        of,
        "the database was restored: nothing is changed about a volume before it was compared with cloud and kernel"
    );
    store::restored::skip_numbers(tx)?;
    store::restored::begin(tx, expiry)?;
    revoke_tokens(tx)?;
    for operation in store::operations::all_open(tx)? {
        store::operations::end_as(tx, operation.id, &ended(&of))?;
    }
    for attachment in store::attachments::all_live(tx)? {
        store::attachments::set_state(tx, attachment.id, AttachmentState::Detached)?;
    }
    for (id, recorded) in store::restored::unproven(tx)? {
        store::mappings::release(tx, id, WHY)?;
        lease::end_all(tx, id, WHY)?;
        settle_snapshots(tx, id)?;
        store::restored::set_aside(tx, id)?;
        store::audit::append(
            tx,
            &AuditEntry {
                actor: "recovery",
                action: "database_restored",
                volume_id: Some(id),
                why: Some(&format!("from a copy of {of}")),
                before: Some(recorded.as_str()),
                ..AuditEntry::default()
            },
        )?;
    }
    Ok(())
}

/// One that was revoked since the copy was made must not work again, and nobody knows which those are.
fn revoke_tokens(tx: &Tx<'_>) -> Result<(), StoreError> {
    for token in store::tokens::all(tx)? {
        store::tokens::revoke(tx, &token.id)?;
        store::audit::append(
            tx,
            &AuditEntry {
                actor: "recovery",
                action: "token_revoked",
                before: Some(&token.name),
                why: Some(WHY),
                ..AuditEntry::default()
            },
        )?;
    }
    Ok(())
}

fn ended(of: &str) -> Failure {
    let text = format!(
        "the database was restored from a copy of {of}, made while this was under way; what came of it is not recorded"
    );
    Failure::new(ErrorCode::DatabaseRestored, text)
        .hint("look at the volume, then ask again for what is still wanted")
}

/// A snapshot that was being made has a reference or is nobody's; one that was being deleted can be deleted again.
fn settle_snapshots(tx: &Tx<'_>, id: VolumeId) -> Result<(), StoreError> {
    for snapshot in store::snapshots::of_volume(tx, id)? {
        let next = match (snapshot.state, &snapshot.snapshot_ref) {
            (SnapshotState::Creating, None) => SnapshotState::Deleted,
            (SnapshotState::Creating | SnapshotState::Deleting, _) => SnapshotState::Ready,
            (SnapshotState::Ready | SnapshotState::Deleted, _) => continue,
        };
        store::snapshots::set_state(tx, snapshot.id, next)?;
    }
    Ok(())
}

/// That the volume was compared with cloud and kernel, where the database was restored.
pub(super) fn require_proven(tx: &Tx<'_>, id: VolumeId) -> Result<(), OperationError> {
    if !store::restored::is_unproven(tx, id)? {
        return Ok(());
    }
    let text =
        format!("the database was restored, and volume {id} was not compared with cloud and kernel since");
    Err(Failure::new(ErrorCode::DatabaseRestored, text)
        .hint(
            "it is as soon as the cloud answers, earlier calls can no longer land and nobody has its device open; `volumectl \
             findings` shows what is left",
        )
        .into())
}

impl Operations {
    /// The volumes that may be compared now; none while a call may land that a restored database does not know of.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub async fn unproven(&self) -> Result<Vec<VolumeId>, StoreError> {
        let now = self.world.store.now();
        let unproven = self.world.store.read(move |conn| {
            let waiting = store::restored::unproven(conn)?;
            let is_fenced = !waiting.is_empty() && store::restored::is_fenced(conn, now)?;
            Ok((waiting, is_fenced))
        });
        let (waiting, is_fenced) = unproven.await?;
        let ids = waiting.into_iter().map(|(id, _)| id);
        Ok(if is_fenced { Vec::new() } else { ids.collect() })
    }

    /// Records that cloud and kernel were asked about the volume and said `seen`, after asking the cloud once more what it has: its
    /// size and its identity are taken over, one that was never made is deleted. Says whether it is proven now. Repeating it
    /// changes nothing.
    ///
    /// # Errors
    /// Where the records cannot be written.
    pub async fn prove(&self, id: VolumeId, seen: String) -> Result<bool, StoreError> {
        let volume = self
            .world
            .store
            .read(move |conn| store::volumes::get(conn, id))
            .await?;
        let Some(volume) = volume else { return Ok(true) };
        let looked = match self.now_in_cloud(&volume).await {
            Ok(found) => self.unused(&volume, found.as_ref()).await.map(|()| found),
            Err(why) => Err(why),
        };
        let found = match looked {
            Ok(found) => found,
            Err(why) => {
                tracing::info!(volume = %id, why, "not proven yet");
                return Ok(false);
            }
        };
        self.world
            .store
            .write(move |tx| record(tx, &volume, found.as_ref(), &seen))
            .await?;
        tracing::info!(volume = %id, "proven since the database was restored");
        Ok(true)
    }

    /// That nobody uses a device of the volume's: its lease may have been taken after the copy was made.
    async fn unused(&self, volume: &VolumeRecord, found: Option<&ProviderVolume>) -> Result<(), String> {
        let told = found.and_then(|found| found.identity.as_ref());
        for identity in told.into_iter().chain(&volume.identity) {
            let uses = self
                .world
                .kernel
                .uses(identity)
                .await
                .map_err(|failure| failure.message)?;
            if !uses.is_empty() {
                return Err(uses.join(", "));
            }
        }
        Ok(())
    }

    /// What the cloud has of the volume now, `None` for surely nothing, or why that cannot be said.
    async fn now_in_cloud(&self, volume: &VolumeRecord) -> Result<Option<ProviderVolume>, String> {
        let found = match &volume.provider_ref {
            Some(_) => self
                .world
                .in_cloud(volume)
                .await
                .map(|found| found.into_iter().collect()),
            None => {
                self.world
                    .cloud
                    .volumes_named(&self.world.cloud_name(volume.id))
                    .await
            }
        };
        let mut found: Vec<ProviderVolume> = found.map_err(|error| super::step::with_causes(&error))?;
        found.retain(|seen| seen.state != crate::cloud::ProviderState::Destroyed);
        match found.as_slice() {
            [] => Ok(None),
            [one] if one.state.is_settled() => Ok(Some(one.clone())),
            [one] => Err(format!("the cloud has it as {:?}", one.state)),
            several => Err(format!("the cloud has {} volumes of its name", several.len())),
        }
    }
}

fn record(
    tx: &Tx<'_>,
    volume: &VolumeRecord,
    found: Option<&ProviderVolume>,
    seen: &str,
) -> Result<(), StoreError> {
    let id = volume.id;
    if !store::restored::prove(tx, id)? {
        return Ok(());
    }
    if let Some(found) = found {
        let provided = Provided {
            provider_ref: &found.provider_ref,
            identity: found.identity.as_ref(),
            size: found.size,
            fresh_zero: false,
        };
        store::volumes::set_provided(tx, id, &provided)?;
    }
    if volume.state == VolumeState::Creating {
        let next = if found.is_some() {
            VolumeState::Available
        } else {
            VolumeState::Deleted
        };
        store::volumes::set_state(tx, id, next)?;
    }
    let after = found.map_or_else(
        || "not in the cloud".to_owned(),
        |found| format!("{} with {}", found.provider_ref, found.size),
    );
    store::audit::append(
        tx,
        &AuditEntry {
            actor: "reconciler",
            action: "prove",
            volume_id: Some(id),
            why: Some(seen),
            before: Some(&volume.size.to_string()),
            after: Some(&after),
            ..AuditEntry::default()
        },
    )
}
