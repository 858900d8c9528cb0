//! What the daemon sees and how it is: devices, mappings, audit trail, status, readiness, doctor, metrics.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::page::Unfiltered;
use super::transport::{Answer, decode, name, protocol, refusal};
use super::{ClientError, ItemStream, ProtocolError, VolumedClient};
use crate::types::{AuditLine, Cursor, Device, DoctorReport, Mapping, Page, Readiness, Status, VolumeId};

/// How long an examination may take; the daemon bounds each of its checks by less.
const EXAMINATION: Duration = Duration::from_secs(60);

/// Which lines of the audit trail are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditFilter {
    /// The volume that they are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
}

impl VolumedClient {
    /// One page of the machine's block devices.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_devices(&self, cursor: &Cursor) -> Result<Page<Device>, ClientError> {
        self.page("/devices", &Unfiltered {}, cursor).await
    }

    /// All block devices of the machine.
    #[must_use]
    pub fn list_all_devices(&self) -> ItemStream<Device> {
        self.pages("/devices".to_owned(), Unfiltered {})
    }

    /// One page of the live mappings.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_mappings(&self, cursor: &Cursor) -> Result<Page<Mapping>, ClientError> {
        self.page("/mappings", &Unfiltered {}, cursor).await
    }

    /// All live mappings.
    #[must_use]
    pub fn list_all_mappings(&self) -> ItemStream<Mapping> {
        self.pages("/mappings".to_owned(), Unfiltered {})
    }

    /// One page of the audit trail, newest first.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        cursor: &Cursor,
    ) -> Result<Page<AuditLine>, ClientError> {
        self.page("/audit", filter, cursor).await
    }

    /// The whole audit trail that fits, newest first.
    #[must_use]
    pub fn list_all_audit(&self, filter: AuditFilter) -> ItemStream<AuditLine> {
        self.pages("/audit".to_owned(), filter)
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/status", &()).await
    }

    /// Whether the daemon takes work; a daemon that does not is an answer, not an error. Asked once, not repeated.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] and the like if there is no answer.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let (what, mut answer) = self.probe("/readyz").await?;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.status = StatusCode::OK;
        }
        decode(&what, &answer)
    }

    /// Lets the daemon examine itself and its surroundings; takes some seconds, at most a minute, and changes nothing. Asked
    /// once, not repeated.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] and the like if there is no answer. Checks that failed are an answer, not an error.
    pub async fn doctor(&self) -> Result<DoctorReport, ClientError> {
        let request = self.build(self.request(Method::GET, "/doctor"))?;
        let what = name(&request);
        let answer = self.attempt(request, EXAMINATION).await?;
        decode(&what, &answer)
    }

    /// Returns if the daemon is alive. Asked once, not repeated.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] and the like if it is not.
    pub async fn health(&self) -> Result<(), ClientError> {
        let (what, answer) = self.probe("/healthz").await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(refusal(&what, answer.status, &answer.body))
    }

    /// The daemon's metrics in Prometheus' text form.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let request = self.build(self.plain_request(Method::GET, "/metrics"))?;
        let what = name(&request);
        let answer = self.send(request).await?;
        if !answer.status.is_success() {
            return Err(refusal(&what, answer.status, &answer.body));
        }
        String::from_utf8(answer.body.into())
            .map_err(|_| protocol(&what, ProtocolError::Content("the text is not UTF-8".to_owned())))
    }

    /// The API's own description.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn openapi(&self) -> Result<Value, ClientError> {
        self.fetch(self.plain_request(Method::GET, "/openapi.json")).await
    }

    async fn probe(&self, path: &str) -> Result<(String, Answer), ClientError> {
        let request = self.build(self.plain_request(Method::GET, path))?;
        let what = name(&request);
        let answer = self.attempt(request, self.inner.request_timeout).await?;
        Ok((what, answer))
    }
}
