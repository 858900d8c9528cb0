//! Who may read and write a file: owner, mode and access list, carried over to the file that takes its place.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

use super::error::StepsError;
use super::note::Note;

/// The name under which Linux keeps a POSIX access list.
const ACCESS_LIST: &str = "system.posix_acl_access";
/// The longest value that Linux keeps under such a name.
const LONGEST: usize = 64 << 10;
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// What an operator should know of a file that holds passwords.
pub(super) fn note(metadata: &Metadata) -> Option<Note> {
    let mode = metadata.mode() & 0o7777;
    (mode & OTHERS != 0).then_some(Note::OpenToOthers { mode })
}

/// Gives `new`, which nobody else can open yet, the access of `old`. Nothing is given away before it has its owner.
pub(super) fn carry_over(old: &File, new: &File, path: &Path) -> Result<(), StepsError> {
    let cannot = StepsError::io;
    let was = old.metadata().map_err(cannot("look at", path))?;
    let is = new.metadata().map_err(cannot("look at", path))?;
    let (owner, group) = (was.uid(), was.gid());
    if (owner, group) != (is.uid(), is.gid()) {
        fchown(new, Some(owner), Some(group)).map_err(|source| StepsError::Owner {
            path: path.to_owned(),
            owner,
            group,
            source,
        })?;
    }
    let mode = Permissions::from_mode(was.mode() & 0o7777);
    new.set_permissions(mode)
        .map_err(cannot("keep the mode of", path))?;
    carry_list(old, new).map_err(cannot("keep the access list of", path))
}

/// The list replaces the one that the folder gives to new files, if it does.
fn carry_list(old: &File, new: &File) -> io::Result<()> {
    let mut list = vec![0; LONGEST];
    match fgetxattr(old, ACCESS_LIST, list.as_mut_slice()) {
        Ok(length) => fsetxattr(new, ACCESS_LIST, &list[..length], XattrFlags::empty())?,
        Err(Errno::NODATA) => match fremovexattr(new, ACCESS_LIST) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        },
        // A file system without access lists.
        Err(Errno::NOTSUP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
