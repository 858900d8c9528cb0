//! The API as a caller sees it: commands go out signed, answers come back opened, and lists come back whole.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::clock::ServerClock;
use super::command::{Command, Denial, Effect};
use super::credentials::Credentials;
use super::envelope;
use super::error::Failure;
use super::http::{Answer, Endpoint};
use super::open_error::CloudStackOpenError;
use super::signing;
use crate::config::CloudStack as Settings;

/// How often a denial is put to the test.
const DENIALS: u32 = 3;
const AFTER_A_DENIAL: Duration = Duration::from_millis(300);
/// The server's own limit unless its administrator chose another.
const PAGE: usize = 500;
const SMALLEST_PAGE: usize = 10;
/// How often a list is begun anew because it changed while it was read.
const READINGS: u32 = 5;

/// A signed way to the management server.
pub(super) struct Api {
    endpoint: Endpoint,
    credentials: Credentials,
    clock: ServerClock,
    page: AtomicUsize,
    patience: Duration,
    lifetime: SignedDuration,
    most_skew: SignedDuration,
}

/// What became of reading a list once.
enum Reading<T> {
    Whole(Vec<T>),
    /// It changed between two pages, so that something may have been passed over.
    Changed,
}

impl Api {
    /// Reads the credentials and prepares the way; sends nothing. Blocks on the file system.
    pub(super) fn new(settings: &Settings) -> Result<Self, CloudStackOpenError> {
        let url: Uri =
            settings
                .url
                .parse()
                .map_err(|error: http::uri::InvalidUri| CloudStackOpenError::Url {
                    url: settings.url.clone(),
                    why: error.to_string(),
                })?;
        Ok(Self {
            endpoint: Endpoint::new(&url, settings.ca_file.as_deref())?,
            credentials: Credentials::load(settings.credentials_file.as_deref())?,
            clock: ServerClock::default(),
            page: AtomicUsize::new(PAGE),
            patience: settings.request_timeout,
            lifetime: signed(settings.expiry),
            most_skew: signed(settings.max_clock_skew),
        })
    }

    /// How far the server's clock is ahead of ours; `None` before the first answer.
    pub(super) fn skew(&self) -> Option<SignedDuration> {
        self.clock.skew()
    }

    /// Sends the command, and again where it was denied for what may be no reason: a denied command did nothing.
    pub(super) async fn call(&self, command: &Command) -> Result<Map<String, Value>, Failure> {
        let mut denied = 0;
        loop {
            let failure = match self.once(command).await {
                Ok(content) => return Ok(content),
                Err(failure) => failure,
            };
            denied += 1;
            if !failure.is_denial() || command.denial == Denial::Believed || denied == DENIALS {
                return Err(failure);
            }
            tracing::debug!(command = command.name, denied, "denied; asking again");
            tokio::time::sleep(AFTER_A_DENIAL * denied).await;
        }
    }

    /// The one object that a reading command answers under `key`.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        command: &Command,
        key: &str,
    ) -> Result<T, Failure> {
        let mut content = self.call(command).await?;
        content
            .remove(key)
            .ok_or_else(|| incomplete(format!("it has no `{key}`")))
            .and_then(parsed)
    }

    /// Every entry of a list that the server gives in pages. A list is whole, or an error.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        command: &Command,
        key: &str,
    ) -> Result<Vec<T>, Failure> {
        for _ in 0..READINGS {
            match self.read_pages(command, key).await {
                Ok(Reading::Whole(entries)) => return Ok(entries),
                Ok(Reading::Changed) => {}
                Err(failure) if is_page_too_large(&failure) && self.smaller_pages() => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(incomplete(format!(
            "the list changed while it was read, {READINGS} times over"
        )))
    }

    async fn read_pages<T: DeserializeOwned>(
        &self,
        command: &Command,
        key: &str,
    ) -> Result<Reading<T>, Failure> {
        let size = self.page.load(Ordering::Relaxed);
        let (mut entries, mut seen, mut total) = (Vec::new(), HashSet::new(), None);
        for page in 1.. {
            let paged = command
                .clone()
                .with("page", page.to_string())
                .with("pagesize", size.to_string());
            let mut content = self.call(&paged).await?;
            let (count, found) = page_of(&mut content, key)?;
            if total.is_some_and(|total| total != count) {
                return Ok(Reading::Changed);
            }
            total = Some(count);
            for entry in found {
                if entry["id"].as_str().is_some_and(|id| !seen.insert(id.to_owned())) {
                    return Ok(Reading::Changed);
                }
                entries.push(parsed(entry)?);
            }
            if entries.len() >= count {
                break;
            }
            if entries.len() < page * size {
                return Err(incomplete(format!(
                    "it counts {count} and shows {}",
                    entries.len()
                )));
            }
        }
        Ok(Reading::Whole(entries))
    }

    fn smaller_pages(&self) -> bool {
        let size = self.page.load(Ordering::Relaxed);
        self.page.store((size / 2).max(SMALLEST_PAGE), Ordering::Relaxed);
        size > SMALLEST_PAGE
    }

    async fn once(&self, command: &Command) -> Result<Map<String, Value>, Failure> {
        if let Some(parameter) = command.unsendable() {
            return Err(Failure::Unsendable {
                parameter: parameter.to_owned(),
            });
        }
        if command.effect == Effect::Changes {
            self.refuse_if_skewed()?;
        }
        let patience = command.patience.unwrap_or(self.patience);
        let mut answer = self.endpoint.post(self.signed(command), patience).await?;
        self.censor(&mut answer);
        if let Some((date, sent, answered)) = &answer.date {
            self.clock.observe(date, *sent, *answered);
        }
        envelope::open(command.name, &answer)
    }

    /// Takes our keys out of an answer that repeats them.
    fn censor(&self, answer: &mut Answer) {
        if let Some(body) = self.credentials.keep_out_of(&answer.body) {
            answer.body = body.into();
        }
        let description = answer.description.as_ref();
        if let Some(text) = description.and_then(|text| self.credentials.keep_out_of(text.as_bytes())) {
            answer.description = Some(String::from_utf8_lossy(&text).into_owned());
        }
    }

    fn refuse_if_skewed(&self) -> Result<(), Failure> {
        match self.clock.skew() {
            Some(skew) if skew.abs() > self.most_skew => Err(Failure::Skewed {
                seconds: skew.as_secs(),
            }),
            _ => Ok(()),
        }
    }

    /// The form that is sent. The signature is made for this sending: it expires soon.
    fn signed(&self, command: &Command) -> String {
        let mut parameters = command.parameters.clone();
        let expires = self.clock.expires(Timestamp::now(), self.lifetime);
        for (name, value) in [
            ("command", command.name),
            ("response", "json"),
            ("apikey", self.credentials.api_key.reveal()),
            ("signatureversion", "3"),
            ("expires", &expires),
        ] {
            parameters.push((name.to_owned(), value.to_owned()));
        }
        let signature = signing::signature(&parameters, self.credentials.secret_key.reveal());
        parameters.push(("signature".to_owned(), signature));
        signing::form(&parameters)
    }
}

/// The count over all pages and the entries of this one. A list without entries is empty: it has not even a count.
pub(super) fn page_of(content: &mut Map<String, Value>, key: &str) -> Result<(usize, Vec<Value>), Failure> {
    let count = content.get("count").and_then(envelope::integer);
    match (content.remove(key), count) {
        (Some(Value::Array(entries)), count) => {
            let count = count.and_then(|count| usize::try_from(count).ok());
            Ok((count.unwrap_or(entries.len()), entries))
        }
        (None, None | Some(0)) => Ok((0, Vec::new())),
        _ => Err(incomplete(format!("it counts `{key}` and shows none"))),
    }
}

fn is_page_too_large(failure: &Failure) -> bool {
    failure.refusal().is_some_and(|said| {
        let text = said.text.to_lowercase();
        said.code == 431 && (text.contains("page size") || text.contains("pagesize"))
    })
}

fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| incomplete(format!("it is not what was asked for ({error})")))
}

fn incomplete(why: String) -> Failure {
    Failure::NotCloudStack { status: 200, why }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
