//! The part of the file of sources that tells which sources are reached through a worker, and by which token the worker is
//! known.
//!
//! ```toml
//! [[worker]]
//! name = "site-a"
//! token_file = "site-a.token"        # the same text as at the worker
//! sources = ["vcenter.example"]      # as the worker's own file of sources names them
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::sources::{SourcesError, reading, warn_if_open};

/// The shortest token.
const SHORTEST: usize = 16;

/// A worker, known by its token.
#[derive(Debug, Clone)]
pub struct WorkerEntry {
    /// Its name.
    pub name: String,
    /// The BLAKE3 hash of its token.
    pub token: blake3::Hash,
    /// The sources that are reached through it.
    pub sources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    token_file: PathBuf,
    sources: Vec<String>,
}

impl Entry {
    /// Reads its token. `others` are the entries before it.
    pub(super) fn whole(self, path: &Path, others: &[WorkerEntry]) -> Result<WorkerEntry, SourcesError> {
        let wrong = |problem: String| SourcesError::Entry {
            path: path.to_owned(),
            host: self.name.clone(),
            problem,
        };
        if self.name.trim().is_empty() || others.iter().any(|other| other.name == self.name) {
            return Err(wrong(
                "is a worker without a name, or with one that is there twice".to_owned(),
            ));
        }
        let place = path.parent().unwrap_or(Path::new(".")).join(&self.token_file);
        let text = std::fs::read_to_string(&place).map_err(reading(&place))?;
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err(wrong(format!(
                "is a worker whose token is shorter than {SHORTEST} characters: write a longer one into {}",
                place.display()
            )));
        }
        let token = blake3::hash(text.as_bytes());
        if others.iter().any(|other| other.token == token) {
            return Err(wrong(
                "is a worker with the token of another: each needs its own".to_owned(),
            ));
        }
        warn_if_open(&place);
        Ok(WorkerEntry {
            name: self.name,
            token,
            sources: self.sources,
        })
    }
}
