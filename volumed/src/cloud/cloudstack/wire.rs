//! The API's objects, as far as they are read. A field without a value is not sent at all.

use serde::Deserialize;
use serde_json::Value;

/// `jobstatus` of a job that has not ended.
pub(super) const PENDING: i64 = 0;
/// `jobstatus` of a job that ended well; above are failed and cancelled.
pub(super) const SUCCEEDED: i64 = 1;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Volume {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) state: String,
    /// Bytes.
    #[serde(default)]
    pub(super) size: u64,
    pub(super) virtualmachineid: Option<String>,
    /// When it was attached, in the server's own writing.
    pub(super) attached: Option<String>,
    /// The last job that was seen on it; at work while `jobstatus` says so.
    pub(super) jobid: Option<String>,
    pub(super) jobstatus: Option<i64>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) volumeid: Option<String>,
    #[serde(default)]
    pub(super) state: String,
    /// The size of the volume when it was taken, bytes.
    pub(super) virtualsize: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Machine {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) details: Value,
    pub(super) hypervisor: Option<String>,
}

/// The answer to `queryAsyncJobResult`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Job {
    pub(super) jobstatus: i64,
    pub(super) cmd: Option<String>,
    /// Absent while the job is pending, and on some failures too.
    pub(super) jobresult: Option<Value>,
    pub(super) jobresultcode: Option<i64>,
}

/// Something that has an id and a name: a zone, a project.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DiskOffering {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) iscustomized: bool,
}

/// The part of `listCapabilities` that is of use; sizes in GiB.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Capability {
    pub(super) cloudstackversion: Option<String>,
    pub(super) customdiskofferingminsize: Option<u64>,
    pub(super) customdiskofferingmaxsize: Option<u64>,
    pub(super) kvmsnapshotenabled: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct HypervisorCapability {
    pub(super) hypervisor: Option<String>,
    pub(super) maxdatavolumeslimit: Option<u64>,
}

/// A command that our role may use.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiEntry {
    pub(super) name: String,
    #[serde(default)]
    pub(super) params: Vec<ApiParameter>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiParameter {
    pub(super) name: String,
}

impl Volume {
    /// The job that is at work on it, a detach included, which shows nowhere else.
    pub(super) fn pending_job(&self) -> Option<&str> {
        match self.jobstatus {
            Some(PENDING) => self.jobid.as_deref(),
            _ => None,
        }
    }

    pub(super) fn is_data_disk(&self) -> bool {
        self.kind == "DATADISK"
    }
}
