//! The life of one `migrate-engine start`: the list, what is meant of it, a summary, a question, and a request for each machine.

mod choose;
mod confirm;
mod request;

use serde_json::json;

use super::client::{Client, Job, NewReplication};
use super::jobs::{failed, follow};
use super::plain::{plain, plain_json};
use super::{Ending, Form, human, machines};
use crate::model::{MachineSpec, ReplicationType};

use choose::{Chosen, choose};
use request::{Refused, request};

pub use choose::Pick;

/// What is to be started, and how.
#[derive(Debug)]
pub struct Start {
    /// The source, as the service knows it.
    pub vcenter: String,
    /// Only in this datacenter.
    pub datacenter: Option<String>,
    /// Which of its machines.
    pub pick: Pick,
    /// The type; decided by the service where absent.
    pub replication_type: Option<ReplicationType>,
    /// Whether a person is asked first.
    pub consent: Consent,
    /// What is done when they have begun.
    pub afterwards: Afterwards,
    /// How results are told.
    pub form: Form,
}

/// Whether a person is asked before anything starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// On the terminal; where there is none, nothing starts.
    Ask,
    /// It was given on the command line.
    Given,
}

/// What is done when they have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Leave,
    /// They are followed to their end.
    Watch,
}

/// Starts them. One that is refused does not stop the others, and makes it [`Ending::Failed`].
///
/// # Errors
/// A selection that selects nothing, no consent, or where results cannot be written.
pub async fn start(client: &Client, start: &Start) -> anyhow::Result<Ending> {
    let list = match client.machines(&start.vcenter, start.datacenter.as_deref()).await {
        Ok(list) => list,
        Err(error) => return Ok(failed(&error)),
    };
    let chosen = choose(&start.pick, &list)?;
    summarise(start, &chosen)?;
    if !chosen.machines.is_empty() && !confirm::confirmed(start.consent, chosen.machines.len()).await? {
        human::say("nothing was started");
        return Ok(Ending::Cancelled);
    }
    let (jobs, refused) = request_all(client, start, chosen).await?;
    finish(client, start, jobs, &refused).await
}

fn summarise(start: &Start, chosen: &Chosen<'_>) -> anyhow::Result<()> {
    let selected = || chosen.machines.iter().map(|(_, machine)| *machine);
    let text = format!(
        "{}to be replicated from {} ({}): {}",
        machines::numbered(chosen.machines.iter().copied()),
        plain(&start.vcenter),
        start.replication_type.map_or(
            "initial, or incremental after an earlier one",
            ReplicationType::as_str
        ),
        machines::totals(selected()),
    );
    match start.form {
        _ if chosen.machines.is_empty() => {}
        Form::Text => human::tell(&text)?,
        Form::Json => human::say(&text),
    }
    for remark in &chosen.remarks {
        human::say(&format!("note: {remark}"));
    }
    Ok(())
}

/// Asks for each, and says at once what becomes of it.
async fn request_all(
    client: &Client,
    start: &Start,
    chosen: Chosen<'_>,
) -> anyhow::Result<(Vec<Job>, Vec<Refused>)> {
    let (mut jobs, mut refused) = (Vec::new(), chosen.refused);
    refused.iter().for_each(Refused::say);
    for (_, machine) in chosen.machines {
        match request(client, &new(start, machine)).await {
            Ok(job) => {
                if start.form == Form::Text {
                    let line = format!("{}  {}  {}", job.id, job.vm_name, job.replication_type);
                    human::tell(&plain(&line))?;
                }
                jobs.push(job);
            }
            Err(error) => {
                let refusal = Refused::of(&machine.path, &error);
                refusal.say();
                refused.push(refusal);
            }
        }
    }
    Ok((jobs, refused))
}

fn new<'a>(start: &'a Start, machine: &'a MachineSpec) -> NewReplication<'a> {
    NewReplication {
        vcenter: &start.vcenter,
        datacenter: start.datacenter.as_deref(),
        machine,
        replication_type: start.replication_type,
    }
}

async fn finish(
    client: &Client,
    start: &Start,
    mut jobs: Vec<Job>,
    refused: &[Refused],
) -> anyhow::Result<Ending> {
    let mut ending = Ending::Completed;
    if start.afterwards == Afterwards::Watch && !jobs.is_empty() {
        let ids: Vec<_> = jobs.iter().map(|job| job.id.clone()).collect();
        let followed = follow(client, &ids, start.form).await?;
        ending = followed.ending();
        for seen in followed.jobs {
            if let Some(job) = jobs.iter_mut().find(|job| job.id == seen.id) {
                *job = seen;
            }
        }
    }
    if start.form == Form::Json {
        let jobs: Vec<_> = jobs.into_iter().map(|job| job.whole).collect();
        let refused: Vec<_> = refused.iter().map(Refused::json).collect();
        human::tell(&plain_json(&json!({ "started": jobs, "refused": refused })))?;
    }
    Ok(match ending {
        Ending::Completed if !refused.is_empty() => Ending::Failed,
        ending => ending,
    })
}
