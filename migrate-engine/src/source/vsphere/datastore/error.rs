//! Why a file of a datastore cannot be read.

use super::super::VsphereError;
use super::super::http::HttpError;
use super::path::DatastorePathParseError;

/// What stands between us and a file of a datastore.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The path is none.
    #[error(transparent)]
    Path(#[from] DatastorePathParseError),
    /// There is no connection or no whole answer, and trying again did not help.
    #[error("cannot read {file}")]
    Http {
        /// The file.
        file: String,
        /// What happened last.
        #[source]
        source: HttpError,
    },
    /// We could not log in again.
    #[error("cannot read {file}: the session ended and could not be renewed")]
    Session {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: Box<VsphereError>,
    },
    /// There is no such file.
    #[error(
        "there is no {file}: check the datastore's name and the datacenter's path, and whether it was moved"
    )]
    NotFound {
        /// The file.
        file: String,
    },
    /// The user may not read it.
    #[error(
        "{file} may not be read: give the user the privileges Datastore.Browse and Datastore.FileManagement"
    )]
    Forbidden {
        /// The file.
        file: String,
    },
    /// A machine that runs writes to it.
    #[error(
        "{file} is locked (HTTP 500): a running machine writes to it; make a snapshot and read the link below it, or \
         power the machine off"
    )]
    Locked {
        /// The file.
        file: String,
    },
    /// Logged in anew, we are still refused.
    #[error("{file} is refused although we are logged in (HTTP 401)")]
    Unauthorized {
        /// The file.
        file: String,
    },
    /// The server is too busy.
    #[error("the server is too busy to give {file} (HTTP {status})")]
    Busy {
        /// The file.
        file: String,
        /// The status.
        status: u16,
    },
    /// The server answers something that we do not expect.
    #[error("HTTP {status} instead of {file}")]
    Status {
        /// The file.
        file: String,
        /// The status.
        status: u16,
    },
    /// The server gives the whole file where a part was asked for.
    #[error("the server gives no parts of {file}: it, or a proxy in between, ignores ranges")]
    NoRanges {
        /// The file.
        file: String,
    },
    /// The server gives other bytes than those that were asked for.
    #[error("asked for bytes {first}-{last} of {file}, the server gives `{found}`")]
    OtherRange {
        /// The file.
        file: String,
        /// The first byte that was asked for.
        first: u64,
        /// The last one.
        last: u64,
        /// What it says to give.
        found: String,
    },
    /// The file ends before what was asked for.
    #[error("{file} has {size} bytes: there are none at {end}")]
    BeyondEnd {
        /// The file.
        file: String,
        /// Its size.
        size: u64,
        /// How far was asked for.
        end: u64,
    },
    /// The file has another size than it had, or than the disk has.
    #[error("{file} has {found} bytes instead of {expected}")]
    Size {
        /// The file.
        file: String,
        /// The size that it should have.
        expected: u64,
        /// The size that it has.
        found: u64,
    },
    /// The server does not say how large it is.
    #[error("the server does not say how large {file} is")]
    SizeUnknown {
        /// The file.
        file: String,
    },
    /// The disk is no flat file.
    #[error("{file} cannot be read as a file: {why}")]
    NotFlat {
        /// The file.
        file: String,
        /// Why.
        why: &'static str,
    },
}
