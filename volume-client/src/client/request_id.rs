//! The name that a caller gives its requests, so that they can be followed through the daemon's log.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

/// A name for requests: up to 64 letters, digits, dots, dashes and underscores, which is what the daemon takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

/// That a text names no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a request's name has 1 to {LONGEST} letters, digits, `.`, `-` or `_`")]
pub struct RequestIdError;

const LONGEST: usize = 64;

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        match (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(RequestIdError),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("it is plain ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_harm_in_a_log_is_no_name() {
        assert_eq!(
            "job-20261201-1.a_2".parse::<RequestId>().unwrap().to_string(),
            "job-20261201-1.a_2"
        );
        for bad in ["", "a b", "a\nb", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(bad.parse::<RequestId>(), Err(RequestIdError), "{bad}");
        }
    }
}
