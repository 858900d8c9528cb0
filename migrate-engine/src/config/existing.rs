//! Opens a file of settings that may not be there.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file, or nothing where there is none. A pipe in its place is not waited for: whoever reads looks whether it is a file.
pub(crate) fn open_existing(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    match options.read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
