//! Stopping jobs, doing them again, declaring them ready: one after the other, and one that is refused does not stop the others.

use std::time::Duration;

use super::super::client::{Change, Client, ClientError, Job};
use super::super::plain::plain;
use super::super::{Ending, human};
use super::failed;
use super::words::standing;
use crate::model::JobStatus;

/// How long the service is asked to wait at once.
const WAIT: Duration = Duration::from_secs(20);

/// What is done after it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Leave,
    /// It is waited until the job has ended.
    Wait,
}

/// Does it with each of these jobs. [`Ending::Failed`] where one of them is not as it was wanted.
///
/// # Errors
/// Where results cannot be written.
pub async fn change(
    client: &Client,
    ids: &[String],
    what: Change,
    afterwards: Afterwards,
) -> anyhow::Result<Ending> {
    let mut asked = Vec::new();
    let mut ending = Ending::Completed;
    for id in ids {
        match client.change(id, what).await {
            Ok(job) => asked.push(job),
            Err(error) => ending = failed(&error),
        }
    }
    // All are asked to stop before one is waited for.
    for job in asked {
        let job = match afterwards {
            Afterwards::Leave => Ok(job),
            Afterwards::Wait => ended(client, job).await,
        };
        match job {
            Ok(job) if is_as_wanted(what, &job) => human::tell(&outcome(what, &job))?,
            Ok(job) => {
                human::say(&outcome(what, &job));
                ending = Ending::Failed;
            }
            Err(error) => ending = failed(&error),
        }
    }
    Ok(ending)
}

async fn ended(client: &Client, mut job: Job) -> Result<Job, ClientError> {
    while !job.status.is_final() {
        job = client.job(&job.id, WAIT).await?;
    }
    Ok(job)
}

/// A job that ended before it was stopped was not stopped.
fn is_as_wanted(what: Change, job: &Job) -> bool {
    what != Change::Cancel || !matches!(job.status, JobStatus::Completed | JobStatus::Failed)
}

fn outcome(what: Change, job: &Job) -> String {
    let name = plain(&format!("{}  {}", job.id, job.vm_name));
    match (what, job.status) {
        (Change::Retry, _) => format!("{name}  is done again"),
        (Change::CutoverReady, _) => format!("{name}  is ready to be cut over"),
        (Change::Cancel, JobStatus::Cancelled) => format!("{name}  cancelled; everything was given back"),
        (Change::Cancel, status) if status.is_final() => {
            format!(
                "{name}  was not stopped: it has ended before, {}",
                status.as_str()
            )
        }
        (Change::Cancel, _) => format!("{name}  {}", standing(job)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::client::testing::job;
    use super::*;

    #[test]
    fn what_ended_before_it_was_stopped_was_not_stopped() {
        for (status, is_wanted, words) in [
            ("running", true, "running"),
            ("cancelled", true, "given back"),
            ("completed", false, "not stopped"),
            ("failed", false, "not stopped"),
        ] {
            let job = job(|it| it["status"] = status.into());
            assert_eq!(is_as_wanted(Change::Cancel, &job), is_wanted, "{status}");
            assert!(outcome(Change::Cancel, &job).contains(words), "{status}");
        }
    }
}
