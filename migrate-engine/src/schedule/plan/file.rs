//! The file of a plan, as it is found.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Plan, PlanError};
use crate::config::existing::open_existing;

/// Far more than any plan has.
const LONGEST: u64 = 1 << 20;

/// Why nothing is taken of a plan's file.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is there, and cannot be read.
    #[error("cannot read the schedules in {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is wrong in it.
    #[error("the schedules in {} are not as they should be: nothing is taken of them", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// All that is wrong.
        #[source]
        source: PlanError,
    },
    /// Its changes cannot be followed.
    #[error("cannot follow changes of {}", path.display())]
    CannotFollow {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What stands in the file; nothing where there is none.
pub(super) type Found = io::Result<Option<String>>;

/// Whether two looks found the same.
pub(super) fn is_same(one: &Found, other: &Found) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => one.kind() == other.kind() && one.to_string() == other.to_string(),
        _ => false,
    }
}

pub(super) async fn look(path: &Path) -> Found {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || read(&path)).await;
    looked.unwrap_or_else(|broken| Err(io::Error::other(broken)))
}

fn read(path: &Path) -> Found {
    let Some(file) = open_existing(path)? else {
        return Ok(None);
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(Some(text))
}

/// The plan that was found; an empty one where there is no file.
pub(super) fn plan(path: &Path, found: &Found) -> Result<Plan, PlanFileError> {
    let path = path.to_owned();
    match found {
        Ok(None) => Ok(Plan::default()),
        Ok(Some(text)) => Plan::from_toml(text).map_err(|source| PlanFileError::Wrong { path, source }),
        Err(error) => Err(PlanFileError::Unreadable {
            path,
            source: io::Error::new(error.kind(), error.to_string()),
        }),
    }
}

impl PlanFileError {
    /// What is wrong, each on a line of its own.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Wrong {
                source: PlanError::Problems(problems),
                ..
            } => problems.iter().map(ToString::to_string).collect(),
            Self::Wrong { source, .. } => vec![source.to_string()],
            Self::Unreadable { source, .. } | Self::CannotFollow { source, .. } => vec![source.to_string()],
        }
    }
}
