//! The database's place, and the file as far as its head tells: nothing is opened for writing, nobody is locked out.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::model::{Bytes, Check, Room};
use crate::store;

/// With less than this a write-ahead log that grows in a busy hour may fill the disk.
const ENOUGH: Bytes = Bytes(512 << 20);

/// The room where the database is; its folder must be there already.
pub(super) fn room(database: &Path) -> Check {
    let folder = folder(database);
    match statvfs(folder) {
        Ok(found) => {
            let bytes = |blocks: u64| Bytes(blocks.saturating_mul(found.f_frsize));
            let room = Room {
                free: bytes(found.f_bavail),
                size: bytes(found.f_blocks),
            };
            Check::of_room(folder.display(), room, ENOUGH)
        }
        Err(error) => Check::failed(
            "free space",
            format!(
                "asking the file system of {}: {}",
                folder.display(),
                io::Error::from(error)
            ),
            "the folder of `database` must be there",
        ),
    }
}

/// Whether a daemon could use the database, whether or not one does now. Blocks.
#[must_use]
pub fn examine(database: &Path) -> Check {
    const NAME: &str = "database";
    let folder = folder(database);
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let seen = format!(
            "{} cannot be written to: {}",
            folder.display(),
            io::Error::from(error)
        );
        return Check::failed(
            NAME,
            seen,
            "the folder of `database` must be there and belong to the daemon",
        );
    }
    match head(database) {
        Ok(head) if head.is_empty() => Check::passed(NAME, format!("{} is empty", database.display())),
        Ok(head) => match store::judge_head(&head) {
            Ok(version) => Check::passed(
                NAME,
                format!("{} has schema version {version}", database.display()),
            ),
            Err(why) => Check::failed(
                NAME,
                format!("{} {why}", database.display()),
                "name another `database`, or install the volumed that wrote it",
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::passed(NAME, format!("{} will be made", database.display()))
        }
        Err(error) => Check::failed(
            NAME,
            format!("{} cannot be read: {error}", database.display()),
            "the file must belong to the daemon, and its disk be well: see `dmesg`",
        ),
    }
}

fn folder(database: &Path) -> &Path {
    match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn head(database: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(database)?.take(store::HEAD).read_to_end(&mut head)?;
    Ok(head)
}
