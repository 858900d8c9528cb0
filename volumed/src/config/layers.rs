//! The layers of a configuration and how they are laid over one another.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{ConfigError, DEFAULT_FILE, Problem, keys};

/// What begins the names of our environment variables.
const PREFIX: &str = "VOLUMED_";

/// Variables of that beginning that are not configuration: those of clients, and the file itself.
const NOT_KEYS: &[&str] = &[
    "VOLUMED_CA_FILE",
    "VOLUMED_CERTIFICATE",
    "VOLUMED_CONFIG",
    "VOLUMED_FINGERPRINT",
    "VOLUMED_KEY",
    "VOLUMED_TOKEN_FILE",
    "VOLUMED_URL",
];

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
    /// On the command line.
    Flag(String),
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "the environment ({name})"),
            Origin::Flag(flag) => write!(f, "the command line ({flag})"),
            Origin::Default => f.write_str("the defaults"),
        }
    }
}

/// What a configuration is made of, lowest first.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file and its text.
    pub file: Option<(PathBuf, String)>,
    /// The process's environment; what is not ours is passed over.
    pub environment: Vec<(String, String)>,
    /// Keys and values of the command line.
    pub flags: Vec<(&'static str, String)>,
}

/// The values that stand after all layers, by key.
pub(super) type Values = BTreeMap<String, (Value, Origin)>;

impl Layers {
    pub(super) fn merge(&self) -> (Values, Vec<Problem>) {
        let (mut values, mut problems) = (Values::new(), Vec::new());
        if let Some((path, text)) = &self.file {
            match text.parse::<toml::Table>() {
                Ok(table) => flatten("", table, &Origin::File(path.clone()), &mut values),
                Err(source) => problems.push(Problem::Syntax {
                    path: path.clone(),
                    source: Box::new(source),
                }),
            }
        }
        for (name, text) in &self.environment {
            let Some(rest) = name
                .strip_prefix(PREFIX)
                .filter(|_| !NOT_KEYS.contains(&name.as_str()))
            else {
                continue;
            };
            let key = keys::for_variable(rest).unwrap_or(rest);
            let origin = Origin::Environment(name.clone());
            values.insert(key.to_owned(), (Value::String(text.clone()), origin));
        }
        for (key, text) in &self.flags {
            let origin = Origin::Flag(format!("--{}", key.replace(['.', '_'], "-")));
            values.insert((*key).to_owned(), (Value::String(text.clone()), origin));
        }
        (values, problems)
    }
}

fn flatten(prefix: &str, table: toml::Table, origin: &Origin, values: &mut Values) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) if keys::is_section(&key) => flatten(&key, inner, origin, values),
            value => {
                values.insert(key, (value, origin.clone()));
            }
        }
    }
}

/// The file's text; `None` where no file was named and the default one is not there.
pub(super) fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Problem::Unreadable {
            path: path.to_owned(),
            source,
        }
        .into()),
    }
}
