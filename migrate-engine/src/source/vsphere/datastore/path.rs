//! A file's path on a datastore: `[datastore] folder/file.vmdk`.

use std::fmt::{self, Write};
use std::str::FromStr;

/// Where a file is: in which datastore, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatastorePath {
    datastore: String,
    file: String,
}

/// The text is no path on a datastore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no path on a datastore: it reads `[datastore] folder/file`")]
pub struct DatastorePathParseError {
    /// What was given.
    pub text: String,
}

impl DatastorePath {
    /// The datastore's name.
    #[must_use]
    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// The path within the datastore.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file `name` in the same folder.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let folder = self.file.rfind('/').map_or("", |slash| &self.file[..=slash]);
        Self {
            datastore: self.datastore.clone(),
            file: format!("{folder}{name}"),
        }
    }

    /// What to ask a web server for. `datacenter_path` is the datacenter's path without its first `/`; a stand-alone
    /// host calls its only one `ha-datacenter`, and does without.
    pub(super) fn target(&self, datacenter_path: Option<&str>) -> String {
        let mut target = format!("/folder/{}?", encoded(&self.file, "/"));
        if let Some(path) = datacenter_path {
            target += &format!("dcPath={}&", encoded(path, ""));
        }
        target + "dsName=" + &encoded(&self.datastore, "")
    }
}

/// Percent-encoded, but for letters, digits, `-._~` and `plain`.
fn encoded(text: &str, plain: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~".contains(character) || plain.contains(character) {
            encoded.push(character);
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

impl FromStr for DatastorePath {
    type Err = DatastorePathParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .trim()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'));
        let (datastore, file) = parts.unwrap_or_default();
        let file = file.trim_start().trim_start_matches('/');
        let climbs = file.split('/').any(|part| matches!(part, "." | ".."));
        if datastore.is_empty() || file.is_empty() || climbs {
            return Err(DatastorePathParseError {
                text: text.chars().take(200).flat_map(char::escape_debug).collect(),
            });
        }
        Ok(Self {
            datastore: datastore.to_owned(),
            file: file.to_owned(),
        })
    }
}

impl fmt::Display for DatastorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.datastore, self.file)
    }
}
