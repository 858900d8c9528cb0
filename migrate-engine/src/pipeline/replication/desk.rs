//! Where replications are asked for: by the API, by a person, by the calendar. All come through here.

use std::sync::Arc;
use std::time::Duration;

use volume_client::VolumedClient;

use super::Dispatcher;
use crate::model::{JobStatus, MachineSpec, ReplicationType};
use crate::source::{Category, SourceFailure, Wanted};
use crate::store::{ContextRow, JobFilter, JobRow, NewJob, Store, StoreError, Submission};

/// How long a request may take: callers give up after 15 seconds.
const PATIENCE: Duration = Duration::from_secs(14);

/// Takes requests, and answers what became of them.
#[derive(Clone)]
pub struct Desk {
    dispatcher: Arc<Dispatcher>,
    known_configs: Arc<[i64]>,
}

/// A replication that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The machine's id, as it was discovered; whichever it has where absent.
    pub vm_id: Option<String>,
    /// Its name, as it was discovered; whichever it has where absent.
    pub vm_name: Option<String>,
    /// Where it is in its source, or whatever else names it.
    pub vm_path: String,
    /// Its vCenter.
    pub vcenter_host: String,
    /// Its datacenter, where there are several.
    pub datacenter: Option<String>,
    /// The type; decided here where absent.
    pub replication_type: Option<ReplicationType>,
    /// Which configuration of the target; the first where absent.
    pub ossea_config_id: Option<i64>,
    /// All that was asked for, in JSON, to be kept. Without secrets.
    pub raw: String,
    /// Names the request, so that a repetition is not done twice.
    pub idempotency_key: Option<String>,
}

/// Why a request is refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The target's configuration is not known.
    #[error("there is no ossea_config_id {asked}: this engine serves {}", list(known))]
    UnknownConfig {
        /// What was asked for.
        asked: i64,
        /// What there is.
        known: Vec<i64>,
    },
    /// The source did not do its part.
    #[error(transparent)]
    Source(#[from] SourceFailure),
    /// Another machine is there than was asked for.
    #[error(
        "{what} of the machine at `{path}` is `{found}`, not `{asked}`: discover it again, and ask for what is there now"
    )]
    Mismatch {
        /// `the id` or `the name`.
        what: &'static str,
        /// Where it is.
        path: String,
        /// What was asked for.
        asked: String,
        /// What is there.
        found: String,
    },
    /// The machine is being replicated.
    #[error("the machine is being replicated already, by {job}: wait for it, or cancel it")]
    Busy {
        /// By this job.
        job: String,
    },
    /// Another request had this key.
    #[error(
        "another request was made with this Idempotency-Key, for {job}: give each request a key of its own"
    )]
    KeyReused {
        /// Its job.
        job: String,
    },
    /// There is no such job.
    #[error("there is no job `{job}`")]
    NoSuchJob {
        /// What was asked for.
        job: String,
    },
    /// The job is not in a state for that.
    #[error("{job} is {status}: {what}")]
    WrongState {
        /// The job.
        job: String,
        /// How it stands.
        status: JobStatus,
        /// What can be done.
        what: &'static str,
    },
    /// The engine's records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(known: &[i64]) -> String {
    let texts: Vec<_> = known.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}

impl Desk {
    /// A desk before `dispatcher`, for these configurations of the target.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, known_configs: Vec<i64>) -> Self {
        Self {
            dispatcher,
            known_configs: known_configs.into(),
        }
    }

    /// Asks for a replication, after a fresh discovery. `true` where the job is new, `false` where the same request was made
    /// before.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn submit(&self, request: Request) -> Result<(JobRow, bool), Refusal> {
        if let Some(asked) = request
            .ossea_config_id
            .filter(|id| !self.known_configs.contains(id))
        {
            let known = self.known_configs.to_vec();
            return Err(Refusal::UnknownConfig { asked, known });
        }
        let machine = self.discover(&request).await?;
        let job = NewJob {
            vm_name: machine.name.clone(),
            vcenter_host: request.vcenter_host,
            vm_id: machine.id.clone(),
            vm_path: machine.path.clone(),
            specification: serde_json::to_string(&machine).expect("a machine has only strings and numbers"),
            request: request.raw,
            replication_type: request.replication_type,
            idempotency_key: request.idempotency_key,
        };
        match self.store().submit(&job)? {
            Submission::New(job) => {
                tracing::info!(job_id = job.id, machine = machine.name, "a replication was taken");
                self.dispatcher.wake();
                Ok((job, true))
            }
            Submission::Again(job) => Ok((job, false)),
            Submission::KeyReused { job } => Err(Refusal::KeyReused { job }),
            Submission::Busy { job } => Err(Refusal::Busy { job }),
        }
    }

    async fn discover(&self, request: &Request) -> Result<MachineSpec, Refusal> {
        let looking = async {
            let source = self.dispatcher.book().connect(&request.vcenter_host).await?;
            source
                .machine(&request.vm_path, request.datacenter.as_deref())
                .await
        };
        let machine = in_time(&request.vcenter_host, looking).await?;
        let pairs = [
            ("the id", &request.vm_id, &machine.id),
            ("the name", &request.vm_name, &machine.name),
        ];
        for (what, asked, found) in pairs {
            if let Some(asked) = asked.as_ref().filter(|asked| *asked != found) {
                return Err(Refusal::Mismatch {
                    what,
                    path: machine.path.clone(),
                    asked: asked.clone(),
                    found: found.clone(),
                });
            }
        }
        Ok(machine)
    }

    /// The sources that are known, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        self.dispatcher.book().hosts()
    }

    /// The workers that are known, and whether each is there.
    #[must_use]
    pub fn workers(&self) -> Vec<(String, bool)> {
        self.dispatcher.book().workers()
    }

    /// What has come of attempts since the process started: the word for each outcome, and how often it came.
    #[must_use]
    pub fn attempts(&self) -> [(&'static str, u64); 4] {
        self.dispatcher.attempts()
    }

    /// The machines of a known source as they are now, in the order of their paths.
    ///
    /// # Errors
    /// That the source is not known, or what keeps us from it.
    pub async fn machines(&self, host: &str, wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        let looking = async {
            let source = self.dispatcher.book().connect(host).await?;
            source.machines(wanted).await
        };
        in_time(host, looking).await
    }

    /// Wants a job stopped. It is, when its status says so; a job that has ended stays as it is.
    ///
    /// # Errors
    /// [`Refusal::NoSuchJob`].
    pub fn cancel(&self, id: &str) -> Result<JobRow, Refusal> {
        let job = self.store().request_cancel(id)?;
        self.dispatcher.stop(id);
        job.ok_or_else(|| no_such(id))
    }

    /// A job that failed, or was cancelled, is done again under its own id.
    ///
    /// # Errors
    /// [`Refusal::NoSuchJob`], [`Refusal::WrongState`], [`Refusal::Busy`].
    pub fn retry(&self, id: &str) -> Result<JobRow, Refusal> {
        let job = self.job(id)?;
        if !matches!(job.status, JobStatus::Failed | JobStatus::Cancelled) {
            return Err(Refusal::WrongState {
                job: job.id,
                status: job.status,
                what: "only one that failed or was cancelled is done again",
            });
        }
        if let Some(other) = self.live_job_of(job.context)? {
            return Err(Refusal::Busy { job: other });
        }
        let job = self.store().retry_job(id)?.ok_or_else(|| no_such(id))?;
        self.dispatcher.wake();
        Ok(job)
    }

    /// Declares that the machine of a job is to be cut over.
    ///
    /// # Errors
    /// [`Refusal::NoSuchJob`]; [`Refusal::WrongState`] unless it is the machine's last job, and completed.
    pub fn cutover_ready(&self, id: &str) -> Result<(JobRow, ContextRow), Refusal> {
        let job = self.job(id)?;
        let context = self.context(&job)?;
        let wrong = |what| {
            Err(Refusal::WrongState {
                job: job.id.clone(),
                status: job.status,
                what,
            })
        };
        if job.status != JobStatus::Completed {
            return wrong("only after a completed replication is a machine ready to be cut over");
        }
        if context.last_job.as_deref() != Some(&*job.id) {
            return wrong("a later job of the machine came after it; ask for that one");
        }
        self.store().mark_cutover_ready(job.context)?;
        Ok((job.clone(), self.context(&job)?))
    }

    /// A job.
    ///
    /// # Errors
    /// [`Refusal::NoSuchJob`].
    pub fn job(&self, id: &str) -> Result<JobRow, Refusal> {
        self.store().job(id)?.ok_or_else(|| no_such(id))
    }

    /// The machine of a job.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn context(&self, job: &JobRow) -> Result<ContextRow, Refusal> {
        let lost = || StoreError::Lost { job: job.id.clone() };
        Ok(self.store().context(job.context)?.ok_or_else(lost)?)
    }

    /// The volume daemon, to be looked at.
    #[must_use]
    pub fn daemon(&self) -> &VolumedClient {
        self.dispatcher.daemon()
    }

    /// The engine's records, to be looked at.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.dispatcher.store()
    }

    fn live_job_of(&self, context: i64) -> Result<Option<String>, Refusal> {
        let of = |status| JobFilter {
            status: Some(status),
            context: Some(context),
            before: None,
            limit: 1,
        };
        for status in [JobStatus::Pending, JobStatus::Running] {
            if let Some(job) = self.store().jobs(&of(status))?.pop() {
                return Ok(Some(job.id));
            }
        }
        Ok(None)
    }
}

async fn in_time<T>(
    host: &str,
    looking: impl Future<Output = Result<T, SourceFailure>>,
) -> Result<T, SourceFailure> {
    let late = || {
        let why = format!("{host} has not answered within {PATIENCE:?}");
        SourceFailure::new(Category::Unreachable, why)
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .map_err(|_| late())?
}

fn no_such(id: &str) -> Refusal {
    Refusal::NoSuchJob {
        job: id.chars().take(60).flat_map(char::escape_debug).collect(),
    }
}
