//! Findings: listing, looking, mending, passing over; and comparing the views now.

use super::page::Unfiltered;
use super::transport::{name, refusal};
use super::{ClientError, ItemStream, VolumedClient};
use crate::types::{
    Cursor, Finding, FindingId, IgnoreFinding, Page, ReconcileReport, ReconcileRequest, RepairStarted,
};

impl VolumedClient {
    /// One page of the findings, ignored ones included.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_findings(&self, cursor: &Cursor) -> Result<Page<Finding>, ClientError> {
        self.page("/findings", &Unfiltered {}, cursor).await
    }

    /// All findings, ignored ones included.
    #[must_use]
    pub fn list_all_findings(&self) -> ItemStream<Finding> {
        self.pages("/findings".to_owned(), Unfiltered {})
    }

    /// One finding.
    ///
    /// # Errors
    /// A problem `finding_not_found` where it has gone away, or as for every reading.
    pub async fn finding(&self, id: &FindingId) -> Result<Finding, ClientError> {
        self.get(&format!("/findings/{id}"), &()).await
    }

    /// Asks for what mends a finding to be done.
    ///
    /// # Errors
    /// A problem `person_needed` where the daemon cannot mend it, `finding_not_found`, and those of what is proposed;
    /// outcome unknown as [`ClientError::outcome_unknown`] says.
    pub async fn repair_finding(&self, id: &FindingId) -> Result<RepairStarted, ClientError> {
        self.fetch(self.post(&format!("/findings/{id}/repair"), &serde_json::json!({})))
            .await
    }

    /// Has a finding passed over: it stays listed, with who wanted it and why.
    ///
    /// # Errors
    /// A problem `finding_not_found`; outcome unknown as [`ClientError::outcome_unknown`] says.
    pub async fn ignore_finding(
        &self,
        id: &FindingId,
        ignore: &IgnoreFinding,
    ) -> Result<Finding, ClientError> {
        self.fetch(self.post(&format!("/findings/{id}/ignore"), ignore))
            .await
    }

    /// Has a finding no longer passed over, also one that is not there at present. Repeating it changes nothing.
    ///
    /// # Errors
    /// Outcome unknown as [`ClientError::outcome_unknown`] says.
    pub async fn heed_finding(&self, id: &FindingId) -> Result<(), ClientError> {
        let request = self.build(self.delete(&format!("/findings/{id}/ignore")))?;
        let what = name(&request);
        let answer = self.send(request).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(refusal(&what, answer.status, &answer.body)),
        }
    }

    /// Has cloud, kernel and records compared now. With `dry_run` nothing is submitted and nothing recorded.
    ///
    /// # Errors
    /// As for every change.
    pub async fn reconcile(&self, request: ReconcileRequest) -> Result<ReconcileReport, ClientError> {
        self.fetch(self.post("/reconcile", &request)).await
    }
}
