//! Step 2: the source, once it has let us in.

use super::super::book::Access;
use super::super::plain::plain;
use super::super::{Ending, human, machines};
use super::list::list;
use crate::config::steps::{Change, Connection, StepsFile};

/// Logs in, lists the machines, and only then writes the source.
///
/// # Errors
/// Where the file cannot be changed; it is as it was then.
pub async fn source(file: &StepsFile, access: &Access) -> anyhow::Result<Ending> {
    let found = match list(access).await {
        Ok(found) => found,
        Err(error) => {
            human::print_error(
                &error,
                Some("nothing was written; put right what is named, and try again"),
            );
            return Ok(Ending::Failed);
        }
    };
    file.apply(&Change::Source(Connection {
        host: access.host.clone(),
        user: access.username.clone(),
        password: access.password.clone(),
    }))?;
    if !found.is_empty() {
        human::tell(&machines::listed(&found))?;
    }
    human::say(&plain(&format!(
        "logged in to {} as {}; {}; written to {}",
        access.host,
        access.username,
        machines::totals(found.iter()),
        file.path().display()
    )));
    remind(file);
    Ok(Ending::Completed)
}

/// Numbers are those of a list; another source has another one.
fn remind(file: &StepsFile) {
    let selected = file.read().map(|read| read.steps.selected_vms);
    if let Ok(selected) = selected.as_ref()
        && !selected.is_empty()
    {
        human::say(&format!(
            "note: `selected_vms` is {selected}, which counts in the list above: select anew where other machines are meant"
        ));
    }
}
