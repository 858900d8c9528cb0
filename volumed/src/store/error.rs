//! What can go wrong in the store, by what the caller can do about it.

use std::path::PathBuf;

/// The store could not do what was asked. Nothing of the transaction was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database is full. Reading goes on; writing works again once there is room.
    #[error("database is full: {0}")]
    Full(#[source] rusqlite::Error),
    /// A rule of the schema stood in the way: another row holds what this one wants.
    #[error("database refused a conflicting row: {rule}")]
    Conflict {
        /// What SQLite said: the index or table that guards the rule.
        rule: String,
    },
    /// The row that a change meant is not as the change expected.
    #[error("{0}")]
    Stale(String),
    /// The database was made by a newer daemon.
    #[error("database {path} has schema version {found}, newer than this daemon's {known}; install the daemon that wrote it", path = path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// Another daemon has the database open.
    #[error("database {path} is in use by another volumed; stop it, or name another database", path = path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file is not a database of ours.
    #[error(
        "{path} is not a database of volumed: {why}; name another file, or put a backup in its place with `volumed restore --database \
         {path} --from BACKUP`", path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// The database's file is damaged.
    #[error(
        "database {path} is damaged, and left as it is; `volumed restore --database {path} --from BACKUP` puts a backup in its \
         place{last}, `volumed fsck` tells more", path = path.display(), last = last_backup(path)
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        #[source]
        source: rusqlite::Error,
    },
    /// A restore was interrupted: which database is in place is not known.
    #[error("a restore of database {path} has not come to its end; run `volumed restore` again", path = path.display())]
    Restoring {
        /// The database.
        path: PathBuf,
    },
    /// The database's files could not be reached.
    #[error("cannot open database {path}", path = path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer has stopped, after an I/O error or at the end of the process.
    #[error("the database's writer has stopped")]
    Stopped,
    /// Anything else that SQLite says.
    #[error("database failed")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// The same error, with the database named where its file is damaged.
    pub(super) fn naming(self, path: &std::path::Path) -> Self {
        match self {
            StoreError::Sqlite(source)
                if matches!(
                    source.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
                ) =>
            {
                StoreError::Damaged {
                    path: path.to_owned(),
                    source,
                }
            }
            other => other,
        }
    }

    /// Whether it is about what the rows say, not about the database: asking again gives the same until they change.
    #[must_use]
    pub fn is_about_rows(&self) -> bool {
        matches!(self, StoreError::Conflict { .. } | StoreError::Stale(_))
    }

    /// Whether the database can no longer be trusted to keep what it is told (an I/O error, a damaged file).
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        match self {
            StoreError::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(SystemIoFailure | DatabaseCorrupt | NotADatabase)
            ),
            StoreError::Damaged { .. } => true,
            _ => false,
        }
    }
}

/// Where a backup is, as far as this machine knows.
fn last_backup(database: &std::path::Path) -> String {
    super::backup::last(database).map_or_else(String::new, |last| format!(" (the last one known is {last})"))
}

/// An error that a change may return: it shows the store's own error, where that is what it is.
pub trait ChangeError: From<StoreError> {
    /// The store's error behind this one.
    fn store(&self) -> Option<&StoreError>;
}

impl ChangeError for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(error),
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                let rule = match &error {
                    rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
                    other => other.to_string(),
                };
                StoreError::Conflict { rule }
            }
            _ => StoreError::Sqlite(error),
        }
    }
}
