//! Leases as the daemon keeps them: taking, renewing, releasing. `open_device` does all three by itself.

use reqwest::StatusCode;

use super::page::Unfiltered;
use super::transport::{name, refusal};
use super::{ClientError, ItemStream, VolumedClient};
use crate::types::{Cursor, ErrorCode, Lease, LeaseGrant, LeaseId, NewLease, Page, RenewLease};

impl VolumedClient {
    /// One page of the leases that were not released.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_leases(&self, cursor: &Cursor) -> Result<Page<Lease>, ClientError> {
        self.page("/leases", &Unfiltered {}, cursor).await
    }

    /// All leases that were not released.
    #[must_use]
    pub fn list_all_leases(&self) -> ItemStream<Lease> {
        self.pages("/leases".to_owned(), Unfiltered {})
    }

    /// One lease.
    ///
    /// # Errors
    /// A problem `lease_not_found`, or as for every reading.
    pub async fn lease(&self, id: LeaseId) -> Result<Lease, ClientError> {
        self.get(&format!("/leases/{id}"), &()).await
    }

    /// Takes a lease. Repeats after a lost answer get the same lease; where the outcome stays unknown, a lease may
    /// have been taken, and ends by itself when it is not renewed.
    ///
    /// # Errors
    /// Problems `volume_leased`, `not_attached`, and all that `volume_device` has.
    pub async fn take_lease(&self, new: &NewLease) -> Result<LeaseGrant, ClientError> {
        self.fetch(self.post("/leases", new)).await
    }

    /// Renews a lease: a sign of life.
    ///
    /// # Errors
    /// A problem `lease_not_found` if it ended.
    pub async fn renew_lease(&self, id: LeaseId, renew: &RenewLease) -> Result<Lease, ClientError> {
        self.fetch(self.post(&format!("/leases/{id}/renew"), renew)).await
    }

    /// Releases a lease. Close the device first: the daemon takes the release as the promise that it is closed.
    ///
    /// # Errors
    /// A problem `lease_not_found` if there was none to begin with; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn release_lease(&self, id: LeaseId) -> Result<(), ClientError> {
        let request = self.build(self.delete(&format!("/leases/{id}")))?;
        let what = name(&request);
        let answer = self.send(request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let error = refusal(&what, answer.status, &answer.body);
        // Not there after a try that may have arrived: that try released it.
        let gone = answer.status == StatusCode::NOT_FOUND && error.code() == Some(ErrorCode::LeaseNotFound);
        if answer.after_doubt && gone {
            Ok(())
        } else {
            Err(error)
        }
    }
}
