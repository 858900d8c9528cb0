//! What a failure means to the caller: told by the code and, because codes say little, by words of the text.
//!
//! Texts change from release to release ("VM" became "Instance"), so a rule names the few words that stayed. What no rule
//! knows is taken for the worse: a job that failed in an unknown way may have done something.

use std::time::Duration;

use serde_json::Value;

use super::envelope::integer;
use super::error::{Failure, Refusal};
use crate::cloud::{Cause, CloudError};

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It certainly did nothing and made no job; later it may work, after this long where the server says so.
    Transient(Option<Duration>),
    /// What it names is not there.
    NotFound,
    /// A job of this id is there already: go and follow it.
    Duplicate,
    /// Wrong or forbidden for good.
    Refused,
    /// Something is in the way.
    Conflict,
    /// No room.
    NoSpace,
    /// It may have happened.
    Unknown,
}

/// A failure with its meaning.
#[derive(Debug)]
pub(super) struct Setback {
    pub(super) meaning: Meaning,
    source: Cause,
    advice: Option<&'static str>,
}

/// How a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFailure {
    code: Option<i64>,
    text: Option<String>,
}

/// The words of a text, all of them in it, and what they mean.
struct Rule(&'static [&'static str], Meaning, Option<&'static str>);

/// What is meant by what is said at once, when there is no job yet, and by a job as well.
const SAID: &[Rule] = &[
    Rule(&["already exists", "custom id"], Meaning::Duplicate, None),
    Rule(
        &["different accounts"],
        Meaning::Refused,
        Some(
            "volume and VM must belong to the same account or project: use keys of the VM's owner, or set `cloudstack.project`",
        ),
    ),
    Rule(
        &["permission"],
        Meaning::Refused,
        Some("it belongs to another account or project: use keys of its owner, or set `cloudstack.project`"),
    ),
    Rule(
        &["maximum number of data disks"],
        Meaning::NoSpace,
        Some(
            "detach a volume from this VM, or have its limit raised (`maxdatavolumeslimit` of the hypervisor's capabilities)",
        ),
    ),
    Rule(
        &["all device ids are used"],
        Meaning::NoSpace,
        Some("detach a volume from this VM"),
    ),
    Rule(
        &["no more available pci slots"],
        Meaning::NoSpace,
        Some(
            "the VM has no free PCI slot: stop and start it, or let it use virtio-scsi (UEFI VMs have very few slots)",
        ),
    ),
    Rule(&["resource limit"], Meaning::NoSpace, None),
    Rule(&["exceed", "limit"], Meaning::NoSpace, None),
    Rule(
        &["vm snapshots"],
        Meaning::Refused,
        Some("delete the snapshots of the VM: with them CloudStack neither attaches nor detaches"),
    ),
    Rule(
        &["instance snapshots"],
        Meaning::Refused,
        Some("delete the snapshots of the VM: with them CloudStack neither attaches nor detaches"),
    ),
    Rule(&["not attached to any"], Meaning::Conflict, None),
    Rule(&["is not attached to"], Meaning::Conflict, None),
    Rule(&["already attached"], Meaning::Conflict, None),
    Rule(
        &["is not in ready state"],
        Meaning::Conflict,
        Some("a volume that was never attached has no storage yet: attach it once"),
    ),
    Rule(&["should be in"], Meaning::Conflict, None),
    Rule(&["must be in"], Meaning::Conflict, None),
    Rule(&["that is not destroyed"], Meaning::Conflict, None),
    Rule(&["either running or stopped"], Meaning::Conflict, None),
    Rule(&["snapshot", "in progress"], Meaning::Conflict, None),
    Rule(&["delete snapshot", "creating"], Meaning::Conflict, None),
    Rule(&["deviceid", "is used by"], Meaning::Conflict, None),
];

/// What is meant by a job that failed, before [`SAID`] is asked.
const FAILED: &[Rule] = &[
    Rule(&["management server"], Meaning::Unknown, None),
    Rule(&["has been blocking others"], Meaning::Unknown, None),
    Rule(&["contact your system administrator"], Meaning::Unknown, None),
    Rule(&["timed out"], Meaning::Unknown, None),
    Rule(&["timeout"], Meaning::Unknown, None),
    Rule(
        &["already in the process of unplug"],
        Meaning::Conflict,
        Some("an earlier unplug has not come to its end: the guest has to let the disk go"),
    ),
    Rule(&["could not detach volume after"], Meaning::Unknown, None),
    Rule(
        &["target", "already exists"],
        Meaning::Conflict,
        Some(
            "the VM has a disk that CloudStack does not know of: stop and start it, or have the disk unplugged on its host",
        ),
    ),
    Rule(
        &["target", "duplicate"],
        Meaning::Conflict,
        Some(
            "the VM has a disk that CloudStack does not know of: stop and start it, or have the disk unplugged on its host",
        ),
    ),
    Rule(&["libvirtexception"], Meaning::Conflict, None),
];

const KEYS: &str = "check the API key and its secret, that the account is enabled and its role may use this command, and that \
                    the clock of this machine is right";

impl JobFailure {
    /// What the job's result tells. It may not be there, or be no object.
    pub(super) fn new(code: Option<i64>, result: Option<&Value>) -> Self {
        let inner = |key| result.and_then(|result| result.get(key));
        Self {
            code: inner("errorcode").and_then(integer).or(code),
            text: inner("errortext")
                .or(result)
                .and_then(Value::as_str)
                .map(str::to_owned),
        }
    }
}

impl Setback {
    /// What it means that a request for a change was not answered well.
    pub(super) fn of_request(failure: Failure) -> Self {
        let (meaning, advice) = match &failure {
            Failure::NotSent(_) | Failure::Skewed { .. } => (Meaning::Transient(None), None),
            Failure::Lost(_) | Failure::NotCloudStack { .. } => (Meaning::Unknown, None),
            Failure::Unsendable { .. } => (Meaning::Refused, None),
            Failure::Said(refusal) => said(refusal),
        };
        Self {
            meaning,
            source: failure.into(),
            advice,
        }
    }

    /// What it means that a question was not answered well. What it asks about is there or is not: that is told apart before,
    /// so what is absent here is something else that the command names, such as the project.
    pub(super) fn of_reading(failure: Failure) -> Self {
        let setback = Self::of_request(failure);
        let meaning = match setback.meaning {
            Meaning::NotFound => Meaning::Refused,
            // Nothing can have happened; and what is in the way of a read is a trouble of the server.
            Meaning::Unknown | Meaning::Conflict | Meaning::NoSpace | Meaning::Duplicate => {
                Meaning::Transient(None)
            }
            other => other,
        };
        Self { meaning, ..setback }
    }

    /// What it means that a job failed. Never transient: the job was there.
    pub(super) fn of_job(id: &str, failure: &JobFailure) -> Self {
        let (meaning, advice) = failed(failure);
        let code = failure
            .code
            .map_or("no code".to_owned(), |code| format!("error {code}"));
        let text = failure.text.as_deref().unwrap_or("nothing");
        Self {
            meaning,
            source: format!("job {id} failed ({code}) and says: {}", text.trim()).into(),
            advice,
        }
    }

    /// That nobody can tell.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self {
            meaning: Meaning::Unknown,
            source: why.into().into(),
            advice: None,
        }
    }

    /// The same, but it may have happened.
    pub(super) fn in_doubt(self) -> Self {
        Self {
            meaning: Meaning::Unknown,
            ..self
        }
    }

    /// What it means where the volume could not be read afterwards: only what certainly made no job keeps its meaning.
    pub(super) fn unverified(self) -> Self {
        match self.meaning {
            Meaning::Transient(_) | Meaning::Refused => self,
            _ => self.in_doubt(),
        }
    }

    /// The same, where it is certain that nothing came of it.
    pub(super) fn without_effect(self) -> Self {
        Self {
            meaning: Meaning::Conflict,
            ..self
        }
    }

    /// Whether a job may have come of it all the same.
    pub(super) fn may_have_made_a_job(&self) -> bool {
        matches!(self.meaning, Meaning::Unknown | Meaning::Duplicate)
    }

    /// What it says, in one line.
    pub(super) fn text(&self) -> String {
        let mut text = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        match self.advice {
            Some(advice) => format!("{text}; {advice}"),
            None => text,
        }
    }

    /// The error for the caller. `what` is what the command names, should that not exist.
    pub(super) fn into_error(self, doing: &str, what: &str) -> CloudError {
        let (reason, doing) = (self.text(), doing.to_owned());
        match self.meaning {
            Meaning::Transient(retry_after) => CloudError::Transient {
                doing,
                retry_after,
                source: Some(self.source),
            },
            Meaning::NotFound => CloudError::NotFound {
                what: what.to_owned(),
            },
            Meaning::Refused => CloudError::Refused { doing, reason },
            Meaning::Conflict => CloudError::Conflict { doing, reason },
            Meaning::NoSpace => CloudError::NoSpace {
                doing,
                source: Some(reason.into()),
            },
            Meaning::Duplicate | Meaning::Unknown => CloudError::Unknown {
                doing,
                source: Some(self.source),
            },
        }
    }
}

/// The error of a command that only asked.
pub(super) fn reading(failure: Failure, doing: &str) -> CloudError {
    Setback::of_reading(failure).into_error(doing, doing)
}

fn said(refusal: &Refusal) -> (Meaning, Option<&'static str>) {
    let text = refusal.text.to_lowercase();
    match refusal.code {
        429 => return (Meaning::Transient(refusal.wait()), None),
        401 | 411 => return (Meaning::Refused, Some(KEYS)),
        503 => return (Meaning::Transient(None), None),
        _ if text.contains("can not accept new jobs") || text.contains("cannot accept new jobs") => {
            return (Meaning::Transient(None), None);
        }
        _ if refusal.is_absence() => return (Meaning::NotFound, None),
        _ => {}
    }
    if let Some(rule) = matching(SAID, &text) {
        return rule;
    }
    match refusal.code {
        531 => (Meaning::Refused, Some("it belongs to another account or project")),
        532 | 533 | 535 => (Meaning::NoSpace, None),
        534 | 536 => (Meaning::Conflict, None),
        405 | 430..=432 => (Meaning::Refused, None),
        _ => (Meaning::Unknown, None),
    }
}

fn failed(failure: &JobFailure) -> (Meaning, Option<&'static str>) {
    let text = failure.text.as_deref().unwrap_or_default().to_lowercase();
    // Without a result, or with code 0, it was cut off from outside: the work itself may go on.
    let (Some(code), false) = (failure.code.filter(|code| *code != 0), text.is_empty()) else {
        return (Meaning::Unknown, None);
    };
    let refusal = Refusal {
        code,
        class: None,
        text: text.clone(),
    };
    let told = matching(FAILED, &text).unwrap_or_else(|| said(&refusal));
    match told {
        (Meaning::Transient(_) | Meaning::Duplicate, advice) => (Meaning::Unknown, advice),
        told => told,
    }
}

fn matching(rules: &[Rule], text: &str) -> Option<(Meaning, Option<&'static str>)> {
    let rule = rules
        .iter()
        .find(|Rule(words, ..)| words.iter().all(|word| text.contains(word)))?;
    Some((rule.1.clone(), rule.2))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
