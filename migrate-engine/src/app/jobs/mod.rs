//! What people do with jobs on the command line: list them, look at one, follow them, stop them, do them again.

mod change;
mod detail;
mod follow;
mod list;
mod screen;
mod words;

use std::time::Duration;

use super::client::{Client, ClientError};
use super::plain::plain_json;
use super::{Ending, Form, human};
use crate::model::JobStatus;

pub use change::{Afterwards, change};
pub(super) use follow::follow;

/// The most jobs that the service lists at once.
const MOST: u32 = 500;

/// Lists the newest `limit` jobs.
///
/// # Errors
/// Where the list cannot be written.
pub async fn list(
    client: &Client,
    status: Option<JobStatus>,
    limit: u32,
    form: Form,
) -> anyhow::Result<Ending> {
    let listed = match client.jobs(status, limit).await {
        Ok(listed) => listed,
        Err(error) => return Ok(failed(&error)),
    };
    match form {
        Form::Json => {
            let jobs: Vec<_> = listed.jobs.into_iter().map(|job| job.whole).collect();
            human::tell(&plain_json(&serde_json::json!({ "replications": jobs })))?;
        }
        Form::Text if listed.jobs.is_empty() => human::say("there is no such job"),
        Form::Text => {
            human::tell(&list::table(&listed.jobs))?;
            if listed.has_more {
                human::say(&format!(
                    "there may be older ones: --limit {MOST} shows up to {MOST}"
                ));
            }
        }
    }
    Ok(Ending::Completed)
}

/// Tells everything about a job.
///
/// # Errors
/// Where that cannot be written.
pub async fn show(client: &Client, id: &str, form: Form) -> anyhow::Result<Ending> {
    match client.job(id, Duration::ZERO).await {
        Err(error) => Ok(failed(&error)),
        Ok(job) => {
            human::tell(&match form {
                Form::Json => plain_json(&job.whole),
                Form::Text => detail::text(&job),
            })?;
            Ok(Ending::Completed)
        }
    }
}

/// Follows jobs until all have ended: these, or where none are named all that are under way.
///
/// # Errors
/// Where results cannot be written.
pub async fn watch(client: &Client, ids: &[String]) -> anyhow::Result<Ending> {
    let live = match ids {
        [] => under_way(client).await,
        ids => Ok(ids.to_vec()),
    };
    match live {
        Ok(live) if live.is_empty() => {
            human::say("nothing is under way");
            Ok(Ending::Completed)
        }
        Ok(live) => Ok(follow(client, &live, Form::Text).await?.ending()),
        Err(error) => Ok(failed(&error)),
    }
}

/// The oldest first.
async fn under_way(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut ids = Vec::new();
    for status in [JobStatus::Running, JobStatus::Pending] {
        let listed = client.jobs(Some(status), MOST).await?;
        ids.extend(listed.jobs.into_iter().rev().map(|job| job.id));
    }
    Ok(ids)
}

pub(super) fn failed(error: &ClientError) -> Ending {
    human::print_error(error, error.hint().as_deref());
    Ending::Failed
}
