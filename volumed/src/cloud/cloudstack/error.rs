//! Why the API gave no answer to go by: one variant for each thing that it may mean to the caller.

use std::fmt;
use std::time::Duration;

use crate::cloud::{Cause, CloudError};

/// How texts say that something is not there.
const ABSENT: &[&str] = &[
    "does not exist",
    "unable to find volume",
    "unable to find snapshot",
    "unable to find virtual machine",
    "unable to find vm",
    "unable to find instance",
];

/// Why a command was not answered with what it asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It never left: no connection was made.
    #[error("cannot connect to the management server")]
    NotSent(#[source] Cause),
    /// It was sent, or begun to be, and no whole answer came.
    #[error("the answer of the management server was lost")]
    Lost(#[source] Cause),
    /// Somebody else answered, or the answer was cut short.
    #[error("the answer ({status}) is not CloudStack's: {why}; does `cloudstack.url` name the API itself?")]
    NotCloudStack {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
    /// The server said no.
    #[error("{0}")]
    Said(Refusal),
    /// The clocks differ so much that nothing that changes anything is sent.
    #[error(
        "the management server's clock differs from this machine's by {seconds} s: set this clock (NTP) before anything is changed"
    )]
    Skewed {
        /// How far the server is ahead.
        seconds: i64,
    },
    /// The server would refuse the value.
    #[error("the value of `{parameter}` holds a control character")]
    Unsendable {
        /// The parameter.
        parameter: String,
    },
}

/// An error that the server put into its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `errorcode`, which is the HTTP status as well.
    pub(super) code: i64,
    /// `cserrorcode`, the class of the exception; only where the server answered at once.
    pub(super) class: Option<i64>,
    /// The text, for people. Its wording changes from release to release.
    pub(super) text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudStack says: {} (error {}", self.text.trim(), self.code)?;
        match self.class {
            Some(class) => write!(f, "/{class})"),
            None => f.write_str(")"),
        }
    }
}

impl Refusal {
    /// Whether something that the command names does not exist. Class 4350 alone says nothing: it stands for every wrong value.
    pub(super) fn is_absence(&self) -> bool {
        let text = self.text.to_lowercase();
        self.code == 431 && ABSENT.iter().any(|words| text.contains(words))
    }

    /// Whether the signature, the account or the role was not accepted.
    pub(super) fn is_denial(&self) -> bool {
        self.code == 401
    }

    /// How long the server asks us to wait, where the rate of calls was too high.
    pub(super) fn wait(&self) -> Option<Duration> {
        if self.code != 429 {
            return None;
        }
        // "… please retry after [N] ms"
        let (_, after) = self
            .text
            .to_lowercase()
            .split_once("after")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let digits: String = after
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok().map(Duration::from_millis)
    }
}

impl Failure {
    /// The server's refusal, where it is one.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Failure::Said(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the server said that there is nothing of this id. That something else does not exist, such as the project,
    /// says nothing about it.
    pub(super) fn is_absence_of(&self, id: &str) -> bool {
        self.refusal()
            .is_some_and(|refusal| refusal.is_absence() && refusal.text.contains(id))
    }

    /// Whether the server did not accept who we are.
    pub(super) fn is_denial(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_denial)
    }
}

/// That the volume is not there.
pub(super) fn absent(id: &str) -> CloudError {
    CloudError::NotFound {
        what: format!("volume {id}"),
    }
}

/// That the present state is in the way.
pub(super) fn conflict(doing: &str, reason: String) -> CloudError {
    CloudError::Conflict {
        doing: doing.to_owned(),
        reason,
    }
}

/// That it is wrong for good.
pub(super) fn refused(doing: &str, reason: impl Into<String>) -> CloudError {
    CloudError::Refused {
        doing: doing.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: i64, text: &str) -> Refusal {
        Refusal {
            code,
            class: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn absence_is_told_by_code_and_text_never_by_the_class() {
        let unknown =
            "Invalid parameter id value=… due to incorrect long value format, or entity does not exist";
        assert!(refusal(431, unknown).is_absence());
        assert!(!refusal(530, unknown).is_absence());
        let attached = Refusal {
            class: Some(4350),
            ..refusal(431, "Please specify a volume that is not attached to any VM.")
        };
        assert!(!attached.is_absence());
        assert!(!refusal(431, "Unable to find suitable storage").is_absence());
    }

    #[test]
    fn the_absence_of_one_thing_is_not_that_of_another() {
        let text = "Invalid parameter projectid value=p-1 due to incorrect long value format, or entity does not exist";
        let failure = Failure::Said(refusal(431, text));
        assert!(failure.is_absence_of("p-1") && !failure.is_absence_of("v-1"));
    }

    #[test]
    fn the_wait_is_the_servers() {
        let text = "The given user has reached his/her account api limit, please retry after [ 1250 ] ms.";
        assert_eq!(refusal(429, text).wait(), Some(Duration::from_millis(1250)));
        assert_eq!(refusal(429, "too fast").wait(), None);
        assert_eq!(refusal(431, text).wait(), None);
    }
}
