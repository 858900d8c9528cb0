//! What people order about findings: mend it, pass it over, heed it again.

use volume_client::types::{Finding, FindingRepair};

use super::Reconciler;
use super::finding::{self, Disagreement};
use crate::model::{ErrorCode, Failure, FindingId, OperationKind, Request, VolumeId};
use crate::operation::{OperationError, Submission, key_reused};
use crate::store::{self, Asker, AuditEntry, Key, KeyedResource, OperationRecord, Replay, Tx};

/// What was begun about a finding.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// What is done.
    pub repair: FindingRepair,
    /// The operation that does it; `None` where it is done.
    pub operation: Option<OperationRecord>,
    /// One sentence for people.
    pub message: String,
}

impl Reconciler {
    /// The finding of this id.
    ///
    /// # Errors
    /// Refused with `finding_not_found` where it is not there, or not shown yet.
    pub async fn finding(&self, id: &FindingId) -> Result<Finding, OperationError> {
        let mut all = self.findings().await?.into_iter();
        Ok(all
            .find(|finding| finding.id == *id)
            .ok_or_else(|| not_found(id))?)
    }

    /// Begins what mends a finding, by order of a person. The same key gives the same operation again.
    ///
    /// # Errors
    /// Refused with `person_needed` where the daemon cannot mend it, and with what the repair is refused with.
    pub async fn repair(
        &self,
        id: &FindingId,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<Repaired, OperationError> {
        // Looked up first: a finding that was mended is no longer there.
        if let Some(operation) = self.of.operations.replayed(key.clone()).await? {
            return Ok(begun(operation));
        }
        let found = self.shown(id)?;
        match (found.repair, found.volume_id()) {
            (Some(FindingRepair::Correlate), Some(volume)) => {
                self.order(volume, Request::Correlate {}, asker, key).await
            }
            (Some(FindingRepair::Attach), Some(volume)) => {
                let vm_id = self.of.operations.own_vm().to_owned();
                self.order(volume, Request::Attach { vm_id }, asker, key).await
            }
            (Some(FindingRepair::EndLeases), Some(volume)) => self.end_leases(id, volume, asker, key).await,
            (Some(FindingRepair::Adopt), _) => {
                let text = format!(
                    "{} gets a record only under a name that a person gives it",
                    found.about()
                );
                let of = found.provider_volume_id().unwrap_or_default();
                Err(Failure::new(ErrorCode::PersonNeeded, text)
                    .hint(format!("`volumectl orphans adopt {of} --name NAME`"))
                    .into())
            }
            _ => {
                let text = format!(
                    "the daemon cannot mend {} of {}",
                    finding::name(found.kind),
                    found.about()
                );
                Err(Failure::new(ErrorCode::PersonNeeded, text)
                    .hint(found.advice)
                    .into())
            }
        }
    }

    fn shown(&self, id: &FindingId) -> Result<Disagreement, Failure> {
        let found = self.standing.lock().get(id, self.of.store.now(), &self.of.bounds);
        found.ok_or_else(|| not_found(id))
    }

    async fn order(
        &self,
        volume: VolumeId,
        request: Request,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<Repaired, OperationError> {
        let submission = Submission {
            volume_id: Some(volume),
            request,
            asker,
            key,
        };
        Ok(begun(self.of.operations.submit(submission).await?))
    }

    async fn end_leases(
        &self,
        id: &FindingId,
        volume: VolumeId,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<Repaired, OperationError> {
        let of = id.to_string();
        self.of
            .store
            .write(move |tx| claim(tx, key.as_ref(), &of))
            .await?;
        self.of
            .operations
            .end_abandoned_leases(volume, &asker.actor)
            .await?;
        Ok(Repaired {
            repair: FindingRepair::EndLeases,
            operation: None,
            message: format!("the leases on volume {volume} whose holders died have ended"),
        })
    }

    /// Has a finding passed over. Repeating it takes the new reason.
    ///
    /// # Errors
    /// Refused with `finding_not_found`, or where the key was used for another request.
    pub async fn ignore(
        &self,
        id: &FindingId,
        why: String,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<Finding, OperationError> {
        let found = self.shown(id)?;
        let of = id.clone();
        self.of
            .store
            .write(move |tx| {
                claim(tx, key.as_ref(), &of.to_string())?;
                let about = found.about();
                let row = store::ignored::NewRow {
                    id: &of,
                    kind: finding::name(found.kind),
                    about: &about,
                    actor: &asker.actor,
                    why: &why,
                };
                store::ignored::insert(tx, &row)?;
                let what = format!("{of} {} of {about}", finding::name(found.kind));
                let entry = AuditEntry {
                    actor: &asker.actor,
                    action: "finding_ignored",
                    volume_id: found.volume_id(),
                    why: Some(&why),
                    after: Some(&what),
                    ..AuditEntry::default()
                };
                Ok::<_, OperationError>(store::audit::append(tx, &entry)?)
            })
            .await?;
        self.finding(id).await
    }

    /// Has a finding no longer passed over, whether it stands or not. Repeating it changes nothing.
    ///
    /// # Errors
    /// Refused where the key was used for another request.
    pub async fn heed(&self, id: &FindingId, asker: Asker, key: Option<Key>) -> Result<(), OperationError> {
        let of = id.clone();
        let heeded = self.of.store.write(move |tx| {
            claim(tx, key.as_ref(), &of.to_string())?;
            let ignored = store::ignored::all(tx)?.into_iter().find(|one| one.id == of);
            let Some(ignored) = ignored else { return Ok(()) };
            store::ignored::delete(tx, &of)?;
            let what = format!("{of} {} of {}", ignored.kind, ignored.about);
            let entry = AuditEntry {
                actor: &asker.actor,
                action: "finding_heeded",
                before: Some(&what),
                ..AuditEntry::default()
            };
            Ok::<_, OperationError>(store::audit::append(tx, &entry)?)
        });
        heeded.await
    }
}

fn begun(operation: OperationRecord) -> Repaired {
    let repair = match operation.request.kind() {
        OperationKind::Attach => FindingRepair::Attach,
        _ => FindingRepair::Correlate,
    };
    Repaired {
        repair,
        message: format!(
            "operation {} goes on with volume {}",
            operation.id, operation.volume_id
        ),
        operation: Some(operation),
    }
}

/// Notes that the key was used for this finding; refused where it was used for something else.
fn claim(tx: &Tx<'_>, key: Option<&Key>, id: &str) -> Result<(), OperationError> {
    let Some(key) = key else { return Ok(()) };
    match store::idempotency::look_up(tx, key, KeyedResource::Finding)? {
        Replay::Same(_) => Ok(()),
        Replay::New => Ok(store::idempotency::record(tx, key, KeyedResource::Finding, id)?),
        Replay::Other => Err(key_reused().into()),
    }
}

fn not_found(id: &FindingId) -> Failure {
    Failure::new(
        ErrorCode::FindingNotFound,
        format!("there is no finding {id}, or it has gone away"),
    )
    .hint("`volumectl orphans list` shows what there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_repair_says_what_a_person_can_do() {
        let id: FindingId = "abababababab".parse().unwrap();
        let failure = not_found(&id);
        assert_eq!(failure.code, ErrorCode::FindingNotFound);
        assert!(failure.message.contains("abababababab"));
    }
}
