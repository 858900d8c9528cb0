//! A refusal of the management server: HTTP status, class of the exception, and text.

use serde_json::{Value, json};

/// What the API says instead of doing what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, and `errorcode`.
    pub code: u16,
    /// `cserrorcode`: the class of the exception; only where the answer is synchronous.
    pub class: Option<u16>,
    /// `errortext`.
    pub text: String,
}

impl Refusal {
    pub(super) fn new(code: u16, class: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            class: Some(class),
            text: text.into(),
        }
    }

    /// Credentials, signature, expiry, unknown command or lacking permission: all look the same.
    pub(super) fn unauthorised() -> Self {
        let text = "unable to verify user credentials and/or request signature".to_owned();
        Self {
            code: 401,
            class: None,
            text,
        }
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new(430, 9999, text)
    }

    /// InvalidParameterValueException.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(431, 4350, text)
    }

    /// An id that never was one, or that is written in another way.
    pub(super) fn unknown(name: &str, value: &str) -> Self {
        Self::invalid(format!(
            "Invalid parameter {name} value={value} due to incorrect long value format, or entity does not exist \
             or due to incorrect parameter annotation for the field in api cmd class."
        ))
    }

    /// CloudRuntimeException, and most of what fails inside a job.
    pub(super) fn runtime(text: impl Into<String>) -> Self {
        Self::new(530, 4250, text)
    }

    /// PermissionDeniedException.
    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self::new(531, 4365, text)
    }

    /// ResourceAllocationException: a quota.
    pub(super) fn quota(text: impl Into<String>) -> Self {
        Self::new(535, 4370, text)
    }

    /// The request limit of the account.
    pub(super) fn too_many(wait: std::time::Duration) -> Self {
        let text = format!(
            "The given user has reached his/her account api limit, please retry after {} ms.",
            wait.as_millis()
        );
        Self::new(429, 4545, text)
    }

    /// The management server is going into maintenance.
    pub(super) fn maintenance() -> Self {
        Self::new(
            503,
            9999,
            "Maintenance or shutdown has been initiated on this management server. Can not accept new jobs",
        )
    }

    /// The content of the envelope.
    pub(super) fn to_json(&self) -> Value {
        let mut body = json!({"uuidList": [], "errorcode": self.code, "errortext": self.text});
        if let Some(class) = self.class {
            body["cserrorcode"] = json!(class);
        }
        body
    }

    /// What a failed job keeps of it: the class is lost.
    pub(super) fn to_job_result(&self) -> Value {
        json!({"errorcode": self.code, "errortext": self.text})
    }
}
