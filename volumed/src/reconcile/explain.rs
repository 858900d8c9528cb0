//! One volume explained: what each view says of it now, and what comes next, in one sentence.

use std::collections::HashMap;

use jiff::Timestamp;
use volume_client::types::Finding;

use super::plan::{
    CloudView, Views, VolumeViews, cloud_text, disagreements, kernel_text, record_text, undecided,
};
use super::{Reconciler, observe, users};
use crate::model::{VolumeId, VolumeState};
use crate::operation::ConditionRecord;
use crate::store::{OperationRecord, StoreError, operations};

/// What each view says of a volume now.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The record.
    pub record: String,
    /// The cloud.
    pub cloud: String,
    /// The kernel.
    pub kernel: String,
    /// Who uses its device beside the daemon; `None` where there is none to look at, or it cannot be told.
    pub used_by: Option<Vec<String>>,
    /// The operation that is under way on it, or its latest one.
    pub operation: Option<OperationRecord>,
    /// What was found of it.
    pub findings: Vec<Finding>,
    /// What happens next, or what a person has to do, and why.
    pub next: String,
}

impl Reconciler {
    /// Asks all three about a volume; `None` where there is none of this id. Changes nothing.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub async fn explain(&self, id: VolumeId) -> Result<Option<Explained>, StoreError> {
        let Some((mut views, disk)) = observe::view(&self.sources(), id).await? else {
            return Ok(None);
        };
        let used_by = match disk {
            Some(disk) => {
                let plug_in = (id, disk.diskseq);
                let seen = users::look(
                    &self.of.machine,
                    &self.of.feed.latest(),
                    HashMap::from([(id, disk)]),
                )
                .await;
                seen.and_then(|mut seen| seen.remove(&plug_in))
            }
            None => None,
        };
        views.users.clone_from(&used_by);
        let operation = self
            .of
            .store
            .read(move |conn| operations::latest_of(conn, id))
            .await?;
        let now = self.of.store.now();
        let findings: Vec<_> = self
            .findings()
            .await?
            .into_iter()
            .filter(|finding| finding.volume_id == Some(id) && still_stands(&views, finding, now))
            .collect();
        let conditions = self.of.operations.conditions(id);
        let open = operation
            .as_ref()
            .filter(|operation| !operation.status.is_final());
        Ok(Some(Explained {
            record: record_text(&views),
            cloud: cloud_text(&views.cloud),
            kernel: kernel_text(&views.kernel),
            next: next(&views, open, &conditions, &findings),
            used_by,
            operation,
            findings,
        }))
    }
}

/// Whether what was found at the latest comparison is still so: it may have been mended since.
fn still_stands(views: &VolumeViews, finding: &Finding, at: Timestamp) -> bool {
    let now = Views {
        volumes: vec![views.clone()],
        strays: Vec::new(),
        strangers: Vec::new(),
        cloud_answered: true,
        devices_settled: true,
        at,
    };
    let mut found = disagreements(&now).into_iter();
    undecided(&now).volumes.contains(&views.record.id) || found.any(|one| one.id() == finding.id)
}

/// What happens next, or what a person has to do, and why. What goes on comes before what was found, and what endangers data
/// before what does not.
fn next(
    views: &VolumeViews,
    open: Option<&OperationRecord>,
    conditions: &[ConditionRecord],
    findings: &[Finding],
) -> String {
    if let Some(open) = open {
        let (id, kind) = (open.id, open.request.kind());
        let how = match open.failure.is_some() {
            true => "is being undone",
            false => "goes on by itself",
        };
        return match &open.waiting_for {
            Some(waiting) => format!("operation {id} ({kind}) {how}; it waits for this: {waiting}"),
            None => format!("operation {id} ({kind}) {how}"),
        };
    }
    let heeded = findings.iter().filter(|finding| finding.ignored.is_none());
    if let Some(worst) = heeded.max_by_key(|finding| finding.severity) {
        return worst.repair.clone();
    }
    if let Some(condition) = conditions.first() {
        return format!("{}: {}", condition.reason, condition.hint);
    }
    if views.cloud == CloudView::Unknown && views.record.provider_ref.is_some() {
        return "nothing until the cloud answers: without it nothing is concluded".to_owned();
    }
    match views.record.state {
        VolumeState::InUse => "nothing: record, cloud and kernel agree that it is attached here".to_owned(),
        VolumeState::Available => "nothing: record, cloud and kernel agree that it is detached".to_owned(),
        VolumeState::Error => {
            "a person must look at it: its latest operation and the audit trail tell what happened".to_owned()
        }
        state => format!("its record is {state} with no operation under way: a person must look at it"),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
