//! Why a configuration cannot be read, used or changed. Nothing of what is in a file is shown but names of keys.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::field::Field;

/// What is wrong with one key, and what to write. Shows no value: it may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Section and key, as `source.esxi_host`; empty where it is the whole file.
    pub key: String,
    /// The line of the file, from 1; `None` where the key is not there.
    pub line: Option<usize>,
    /// What is wrong, and what to write.
    pub why: String,
}

/// What a step still has to fill in before something can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// What is missing; at least one.
    pub flaws: Vec<Flaw>,
}

/// Why a configuration cannot be read or changed. Whatever it is, the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// There is no file.
    #[error("there is no configuration {}: the first step writes it, or copy an existing `config.json` there", path.display())]
    Missing {
        /// Where it is expected.
        path: PathBuf,
    },
    /// The link leads nowhere.
    #[error("configuration {} is a link to nothing: make the file that it leads to, or remove the link", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// It is a folder, a device, a pipe.
    #[error("configuration {} is no regular file: name one", path.display())]
    NoFile {
        /// What is no file.
        path: PathBuf,
    },
    /// It is far larger than any configuration.
    #[error("configuration {} has more than {limit} bytes: is it the right file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// It is not JSON. It is never overwritten.
    #[error("configuration {} is broken at line {line}, column {column} ({why}): mend it there", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in bytes.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// It is JSON, and keys have values that cannot be meant.
    #[error("configuration {}: {}", path.display(), listed(flaws))]
    Flawed {
        /// The file.
        path: PathBuf,
        /// All that is wrong; at least one.
        flaws: Vec<Flaw>,
    },
    /// We may not write it.
    #[error("configuration {} may not be changed by this user: allow it with `chmod u+w`, or change it as its owner", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A new file would belong to somebody else than the old one.
    #[error("configuration {} belongs to user {owner} and group {group}, and this user cannot give a new file to them: change it as its owner", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// Its group's number.
        group: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another program holds the lock for very long.
    #[error("another program has kept {} locked for {seconds} s: end the one that hangs (`fuser` names it), then try again", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Another program, which knows nothing of our lock, rewrites the file all the time.
    #[error("another program changes configuration {} all the time: stop it, then try again", path.display())]
    KeepsChanging {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system does not let us follow changes.
    #[error("cannot follow changes of configuration {} (raise fs.inotify.max_user_instances)", path.display())]
    CannotFollow {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Flaw {
    /// Of a field that is not filled in.
    pub(super) fn missing(field: &Field) -> Self {
        Self {
            key: field.path(),
            line: None,
            why: format!("is missing: write {}", field.write),
        }
    }
}

impl StepsError {
    /// For `map_err`: what was tried with which file.
    pub(super) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        if let Some(line) = self.line {
            write!(f, "(line {line}) ")?;
        }
        f.write_str(&self.why)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&listed(&self.flaws))
    }
}

impl std::error::Error for Unfinished {}

fn listed(flaws: &[Flaw]) -> String {
    let shown: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    shown.join("; ")
}
