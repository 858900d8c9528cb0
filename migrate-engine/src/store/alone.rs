//! That one service alone works with a database: two would take each other's jobs away.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The only service of a database, as long as this lives. A killed process lets go of it.
#[derive(Debug)]
pub struct Alone {
    _lock: File,
}

/// Another service works with the database, or it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Another one does.
    #[error(
        "another service works with {}: end it, or give this one a database of its own", database.display()
    )]
    Taken {
        /// The database.
        database: PathBuf,
    },
    /// The lock cannot be had.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The file of the lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Alone {
    /// Takes the place of a database's only service.
    ///
    /// # Errors
    /// [`AloneError::Taken`].
    pub fn with(database: &Path) -> Result<Self, AloneError> {
        let path = database.with_added_extension("serve-lock");
        let failed = |source| AloneError::Io {
            path: path.clone(),
            source,
        };
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(AloneError::Taken {
                database: database.to_owned(),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("e.db");
        let first = Alone::with(&database).unwrap();
        assert!(matches!(Alone::with(&database), Err(AloneError::Taken { .. })));
        drop(first);
        Alone::with(&database).unwrap();
    }
}
