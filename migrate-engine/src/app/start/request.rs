//! A request for one machine, sent until it is answered, and why one is refused.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::client::{Client, ClientError, Job, NewReplication};
use super::super::human;
use super::super::plain::plain;

/// How often a request is sent: under one key, so that it is done once.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// A machine that is not started. Holds nothing that a terminal would obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The machine, as it was asked for.
    pub(super) machine: String,
    pub(super) code: String,
    /// Why.
    pub(super) detail: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

/// Asks under a key of its own.
pub(super) async fn request(client: &Client, new: &NewReplication<'_>) -> Result<Job, ClientError> {
    let key = Uuid::new_v4().to_string();
    let mut tries = 1;
    loop {
        match client.start(new, &key).await {
            Err(error) if error.may_pass() && tries < TRIES => {
                tracing::debug!(%error, tries, "asking again");
                tokio::time::sleep(PAUSE).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

impl Refused {
    pub(super) fn of(machine: &str, error: &ClientError) -> Self {
        Self {
            machine: plain(machine),
            code: error.code().to_owned(),
            detail: error.to_string(),
            hint: error.hint(),
        }
    }

    pub(super) fn unknown(wanted: &str) -> Self {
        Self {
            machine: plain(wanted),
            code: "vm_not_found".to_owned(),
            detail: format!("there is no machine `{}`", plain(wanted)),
            hint: Some(
                "`migrate-engine sources HOST` lists the machines; names have upper and lower case"
                    .to_owned(),
            ),
        }
    }

    pub(super) fn ambiguous(wanted: &str, places: &[String]) -> Self {
        Self {
            machine: plain(wanted),
            code: "vm_ambiguous".to_owned(),
            detail: format!(
                "several machines are `{}`: {}",
                plain(wanted),
                plain(&places.join(", "))
            ),
            hint: Some("name the machine by its path or id".to_owned()),
        }
    }

    pub(super) fn say(&self) {
        human::say(&format!("refused: {}: {}", self.machine, self.detail));
        if let Some(hint) = &self.hint {
            human::say(&format!("    hint: {hint}"));
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({"vm": self.machine, "code": self.code, "detail": self.detail, "hint": self.hint})
    }
}
