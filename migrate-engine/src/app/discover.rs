//! The life of one `migrate-engine discover`: the list goes to standard output.
#![allow(clippy::print_stdout, reason = "this is where the program talks to people")]

use std::io::{self, Write as _};

use super::book::{self, Access};
use super::{Ending, Form, human, machines};
use crate::api;
use crate::source::{Source as _, SourceFailure, Wanted};

/// Lists the machines of a source.
///
/// # Errors
/// Where the list cannot be written.
pub async fn discover(access: &Access, wanted: &Wanted, form: Form) -> anyhow::Result<Ending> {
    let found: Result<_, SourceFailure> = async {
        let source = book::connect(access).await?;
        let found = source.machines(wanted).await;
        source.close().await;
        found
    }
    .await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            human::print_error(&error, None);
            return Ok(Ending::Failed);
        }
    };
    let mut out = io::stdout().lock();
    match form {
        Form::Json => writeln!(out, "{}", api::discovered(found))?,
        Form::Text if found.is_empty() => human::say("there is no such machine, or this user may not see it"),
        Form::Text => write!(out, "{}", machines::listed(&found))?,
    }
    out.flush()?;
    Ok(Ending::Completed)
}
