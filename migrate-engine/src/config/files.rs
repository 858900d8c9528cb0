//! The part of the file of sources that names folders of images and packages.
//!
//! ```toml
//! [[files]]
//! host = "shelf"        # as those who ask for replications name it
//! path = "/srv/shelf"   # a folder, or one file
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::sources::SourcesError;

/// A folder of images and packages as a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesEntry {
    /// Its name, as it is asked for.
    pub host: String,
    /// The folder, or one file.
    pub path: PathBuf,
}

/// The folders, which must be there: relative to the file of sources.
pub(super) fn of(entries: Vec<FilesEntry>, path: &Path) -> Result<Vec<FilesEntry>, SourcesError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let whole = |entry: FilesEntry| {
        let place = folder.join(&entry.path);
        match place.exists() {
            true => Ok(FilesEntry { path: place, ..entry }),
            false => Err(SourcesError::Entry {
                path: path.to_owned(),
                problem: format!(
                    "is at {}, where nothing is: make it, or mend its path",
                    place.display()
                ),
                host: entry.host,
            }),
        }
    };
    entries.into_iter().map(whole).collect()
}
