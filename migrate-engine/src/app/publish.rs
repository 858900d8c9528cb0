//! The life of one `migrate-engine export`: what is published goes to standard output, what happens to standard error.
#![allow(clippy::print_stdout, reason = "this is where the program talks to people")]

use std::io::{self, Write};

use serde::Serialize;

use super::{Ending, human};
use crate::model::Size;
use crate::pipeline::{Audience, Published, Publisher};

/// How exports are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line for people: address, volume, size.
    Text,
    /// A line of JSON.
    Json,
}

/// An export as programs read it.
#[derive(Serialize)]
struct Line<'a> {
    uri: &'a str,
    export: &'a str,
    volume_id: String,
    size_bytes: u64,
    device_path: &'a str,
}

/// Publishes the volumes, says where they are, and stays until it is stopped.
pub async fn publish(publisher: &Publisher, wanted: &[String], form: Form) -> Ending {
    match publisher.serve(wanted, &Teller(form)).await {
        Ok(()) => Ending::Completed,
        Err(error) => {
            human::print_error(&error, error.hint().as_deref());
            match error.is_cancelled() {
                true => Ending::Cancelled,
                false => Ending::Failed,
            }
        }
    }
}

struct Teller(Form);

impl Audience for Teller {
    fn say(&self, text: &str) {
        human::say(text);
    }

    fn published(&self, exports: &[Published]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for export in exports {
            writeln!(out, "{}", self.line(export)?)?;
        }
        out.flush()?;
        human::say(&format!("{} published; SIGINT or SIGTERM ends it", exports.len()));
        Ok(())
    }
}

impl Teller {
    fn line(&self, export: &Published) -> io::Result<String> {
        let Published {
            uri,
            name,
            volume,
            size,
            device_path,
        } = export;
        Ok(match self.0 {
            Form::Text => format!("{uri}  volume {volume}  {}", Size(*size)),
            Form::Json => serde_json::to_string(&Line {
                uri,
                export: name,
                volume_id: volume.to_string(),
                size_bytes: *size,
                device_path,
            })?,
        })
    }
}
