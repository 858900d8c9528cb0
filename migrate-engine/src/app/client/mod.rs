//! The service's client: one question, one typed answer, and errors that say what to do.

mod address;
mod error;
mod job;
mod machine;
mod send;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{JobStatus, MachineSpec, ReplicationType};
use crate::source::vsphere::Trust;

pub use error::ClientError;
pub use job::{Job, JobDisk, JobStep};
pub use send::Client;

use send::Question;

/// What can be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is stopped.
    Cancel,
    /// It is done again.
    Retry,
    /// Its machine is declared ready to be cut over.
    CutoverReady,
}

/// What is asked for of a machine.
#[derive(Debug, Clone, Copy)]
pub struct NewReplication<'a> {
    /// The machine's source.
    pub vcenter: &'a str,
    /// Its datacenter, where there are several.
    pub datacenter: Option<&'a str>,
    /// The machine, as it was listed.
    pub machine: &'a MachineSpec,
    /// The type; decided by the service where absent.
    pub replication_type: Option<ReplicationType>,
}

/// Jobs, the newest first.
#[derive(Debug)]
pub struct Listed {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// There may be older ones.
    pub has_more: bool,
}

#[derive(Deserialize)]
struct Page {
    replications: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Sources {
    sources: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    host: String,
}

impl Client {
    /// A client of the service at `url`, which over TLS `trust` has to vouch for. Reads the token; connects to nothing yet.
    ///
    /// # Errors
    /// An address that is none, a token or a certificate that cannot be read.
    pub fn new(url: &str, token_file: &Path, trust: &Trust) -> Result<Self, ClientError> {
        Self::of(address::parse(url)?, token_file, trust)
    }

    /// The sources that the service knows.
    ///
    /// # Errors
    /// Why it does not tell.
    pub async fn sources(&self) -> Result<Vec<String>, ClientError> {
        let question = Question::new(Method::GET, &["sources"]);
        let answer: Sources = self.read(self.ask(question).await?)?;
        Ok(answer.sources.into_iter().map(|known| known.host).collect())
    }

    /// The machines of a known source, as they are now, in the order of their paths.
    ///
    /// # Errors
    /// Why it does not tell.
    pub async fn machines(
        &self,
        host: &str,
        datacenter: Option<&str>,
    ) -> Result<Vec<MachineSpec>, ClientError> {
        let question =
            Question::new(Method::GET, &["sources", host, "machines"]).given("datacenter", datacenter);
        let answer: machine::Found = self.read(self.ask(question).await?)?;
        Ok(answer.machines())
    }

    /// Asks for a replication. With the same key it can be repeated where the answer was lost, and is done once.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn start(&self, new: &NewReplication<'_>, key: &str) -> Result<Job, ClientError> {
        let machine = new.machine;
        let body = json!({
            "source_vm": {"id": machine.id, "name": machine.name, "path": machine.path},
            "vcenter_host": new.vcenter,
            "datacenter": new.datacenter,
            "replication_type": new.replication_type.map(ReplicationType::as_str),
        });
        let question = Question::new(Method::POST, &["replications"]).with(body, key);
        self.one(self.ask(question).await?)
    }

    /// The newest `limit` jobs.
    ///
    /// # Errors
    /// Why it does not tell.
    pub async fn jobs(&self, status: Option<JobStatus>, limit: u32) -> Result<Listed, ClientError> {
        let question = Question::new(Method::GET, &["replications"])
            .given("status", status.map(JobStatus::as_str))
            .given("limit", Some(&limit.to_string()));
        let page: Page = self.read(self.ask(question).await?)?;
        let jobs = page.replications.into_iter().map(|job| self.one(job));
        Ok(Listed {
            jobs: jobs.collect::<Result<_, _>>()?,
            has_more: page.next_cursor.is_some(),
        })
    }

    /// A job, as it is when it has ended or `wait` is over.
    ///
    /// # Errors
    /// Why it does not tell.
    pub async fn job(&self, id: &str, wait: Duration) -> Result<Job, ClientError> {
        let seconds = (!wait.is_zero()).then(|| wait.as_secs().to_string());
        let question = Question::new(Method::GET, &["replications", named(id)?])
            .given("wait", seconds.as_deref())
            .patient(wait);
        self.one(self.ask(question).await?)
    }

    /// Does something with a job. Repeating it is harmless.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn change(&self, id: &str, change: Change) -> Result<Job, ClientError> {
        let verb = match change {
            Change::Cancel => "cancel",
            Change::Retry => "retry",
            Change::CutoverReady => "cutover-ready",
        };
        let question = Question::new(Method::POST, &["replications", named(id)?, verb]);
        let mut answer = self.ask(question).await?;
        match change {
            Change::CutoverReady => self.one(answer["replication"].take()),
            Change::Cancel | Change::Retry => self.one(answer),
        }
    }

    fn one(&self, answer: Value) -> Result<Job, ClientError> {
        Job::read(answer).map_err(|error| self.strange(error))
    }
}

/// An id that can stand in a path; others name no job.
fn named(id: &str) -> Result<&str, ClientError> {
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match is_id {
        true => Ok(id),
        false => Err(ClientError::Refused {
            code: "job_not_found".to_owned(),
            detail: format!("`{}` is no id of a job", super::plain::plain(id)),
            hint: None,
        }),
    }
}
