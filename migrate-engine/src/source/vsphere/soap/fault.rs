//! A fault: what the vCenter says instead of an answer.

use std::fmt;

use super::Element;

/// What a vCenter or host says when it refuses a call, or when a task failed. Told apart by its kind, never by its
/// message: that comes in the host's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Told>);

/// Apart, so that errors stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    kind: String,
    message: String,
    key: Option<String>,
    details: Vec<(String, String)>,
}

impl Fault {
    /// The kind of fault, such as `InvalidLogin`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// What the host says to people. May be empty.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The key of its first message, such as `vim.hostd.vmsvc.cbt.noTrack`.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// A field of the fault, such as `invalidProperty`.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.details.iter().find(|(found, _)| found == name)?;
        Some(value)
    }

    pub(in super::super) fn is(&self, kind: &str) -> bool {
        self.0.kind == kind
    }

    /// The fault of a SOAP `Fault` element.
    pub(super) fn of_soap(fault: &Element) -> Self {
        let text = fault
            .child_text("faultstring")
            .or_else(|| fault.at(&["Reason", "Text"])?.trimmed());
        let detail = fault.child("detail").or_else(|| fault.child("Detail"));
        match detail.and_then(|detail| detail.children.first()) {
            Some(detail) => Self::of_detail(detail, text),
            None => Self(Box::new(Told {
                kind: "Fault".to_owned(),
                message: text.unwrap_or_default().to_owned(),
                key: None,
                details: Vec::new(),
            })),
        }
    }

    /// The fault of a `LocalizedMethodFault`, as tasks have it.
    pub(in super::super) fn of_task(error: &Element) -> Self {
        let message = error.child_text("localizedMessage");
        match error.child("fault") {
            Some(fault) => Self::of_detail(fault, message),
            None => Self::of_detail(error, message),
        }
    }

    fn of_detail(detail: &Element, message: Option<&str>) -> Self {
        let messages = || detail.children("faultMessage");
        let said = messages().find_map(|message| message.child_text("message"));
        // Of several, the one about change tracking decides what can be done.
        let keys = || messages().filter_map(|message| message.child_text("key"));
        let key = keys().find(|key| key.contains(".cbt.")).or_else(|| keys().next());
        Self(Box::new(Told {
            kind: kind(detail),
            message: message.or(said).unwrap_or_default().to_owned(),
            key: key.map(str::to_owned),
            details: detail
                .children
                .iter()
                .filter_map(|child| Some((child.name.clone(), child.trimmed()?.to_owned())))
                .collect(),
        }))
    }
}

/// By its type; by the element's name, `InvalidLoginFault`, where it has none.
fn kind(detail: &Element) -> String {
    match detail.xsi_type() {
        "" if detail.name.is_empty() => "UnknownFault".to_owned(),
        "" => detail
            .name
            .strip_suffix("Fault")
            .unwrap_or(&detail.name)
            .to_owned(),
        kind => kind.to_owned(),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        let shown: String = self
            .message()
            .chars()
            .take(300)
            .flat_map(char::escape_debug)
            .collect();
        match shown.as_str() {
            "" => {}
            message => write!(f, ": {message}")?,
        }
        match self.key() {
            Some(key) => write!(f, " ({})", key.escape_debug()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
