//! The lock that keeps a second daemon away, and what its file remembers: that the database was made.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::StoreError;
use super::beside::{beside, sync_folder};

/// What the lock's file says once the database was made: an empty database after that is a damaged one.
const MADE: &str = "a database was made beside this file\n";

/// The lock, held. It is the kernel's: it ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    was_made: bool,
}

impl Lock {
    /// Takes the lock of the database at `path`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let open_error = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(beside(path, ".lock"))
            .map_err(open_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(open_error(source)),
        }
        let mut says = Vec::new();
        file.read_to_end(&mut says).map_err(open_error)?;
        Ok(Self {
            file,
            was_made: says.starts_with(MADE.as_bytes()),
        })
    }

    /// Whether a database was made here before.
    pub(super) fn was_made(&self) -> bool {
        self.was_made
    }

    /// Remembers that the database was made. Where it cannot be remembered (a full disk), the next start does it.
    pub(super) fn remember_made(&mut self, path: &Path) {
        if self.was_made {
            return;
        }
        let written = self
            .file
            .write_all(MADE.as_bytes())
            .and_then(|()| self.file.sync_all())
            .and_then(|()| sync_folder(path));
        match written {
            Ok(()) => self.was_made = true,
            Err(error) => tracing::warn!(%error, "cannot note that the database was made"),
        }
    }
}
