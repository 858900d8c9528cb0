//! What the embedded provider needs of its machine: a root to write to, a file system that lasts, room, and loop devices.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access, statfs, statvfs};

use crate::model::{Bytes, Check, Room};

/// Below this a new volume soon cannot be written in full.
const ENOUGH: Bytes = Bytes(10 << 30);

/// File systems by the number that `statfs` gives (`linux/magic.h`), and what is to be known of them.
const FILE_SYSTEMS: [(i64, &str, Option<&str>); 9] = [
    (0xEF53, "ext4", None),
    (0x5846_5342, "XFS", None),
    (0x9123_683E, "btrfs", None),
    (0x2FC1_2FC1, "ZFS", None),
    (0xF2F5_2010, "F2FS", None),
    (
        0x0102_1994,
        "tmpfs",
        Some("volumes on it are lost with the next boot"),
    ),
    (
        0x794C_7630,
        "overlayfs",
        Some("volumes on it are lost with the container"),
    ),
    (
        0x6969,
        "NFS",
        Some("a server that does not answer blocks every volume"),
    ),
    (
        0x6573_5546,
        "FUSE",
        Some("its server decides whether volumes last and how fast they are"),
    ),
];

/// Looks at the machine for a provider with this root. Changes nothing: the root need not be there, nor be ours.
pub(super) fn examine(root: &Path) -> Vec<Check> {
    let mut checks = vec![loop_control()];
    // What is missing is made in the nearest folder that is there.
    let Some(there) = root.ancestors().find(|folder| folder.exists()) else {
        let seen = format!("no folder above {} is there", root.display());
        checks.push(Check::failed(
            "root",
            seen,
            "name an absolute path in `local.root`",
        ));
        return checks;
    };
    checks.push(writable(root, there));
    checks.push(file_system(there));
    checks.push(room(there));
    checks
}

fn loop_control() -> Check {
    const NAME: &str = "loop devices";
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control");
    match opened {
        Ok(_) => Check::passed(NAME, "the kernel gives them out"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Check::failed(
            NAME,
            format!("/dev/loop-control: {error}"),
            "run the daemon as root",
        ),
        Err(error) => Check::failed(
            NAME,
            format!("/dev/loop-control: {error}"),
            "load the driver (`modprobe loop`); in a container, pass the host's /dev/loop-control and loop devices on",
        ),
    }
}

fn writable(root: &Path, there: &Path) -> Check {
    const NAME: &str = "root";
    let allowed = access(there, Access::WRITE_OK | Access::EXEC_OK);
    match allowed.map_err(io::Error::from) {
        _ if !there.is_dir() => {
            let seen = format!("{} is no folder", there.display());
            Check::failed(NAME, seen, "name a folder in `local.root`")
        }
        Err(error) => {
            let seen = format!("{} cannot be written to: {error}", there.display());
            Check::failed(
                NAME,
                seen,
                "name another folder in `local.root`, or make this one writable",
            )
        }
        Ok(()) if there == root => Check::passed(NAME, format!("{} can be written to", root.display())),
        Ok(()) => Check::passed(NAME, format!("{} can be made", root.display())),
    }
}

fn file_system(there: &Path) -> Check {
    const NAME: &str = "file system";
    let found = match statfs(there) {
        Ok(found) => found,
        Err(error) => return unknown(NAME, there, error),
    };
    // The numbers have 32 bits, and some kernels fill the rest with the sign.
    let number = found.f_type & 0xFFFF_FFFF;
    match FILE_SYSTEMS.iter().find(|(known, ..)| *known == number) {
        None => Check::passed(NAME, format!("{} is on one of type {number:#x}", there.display())),
        Some((_, name, None)) => Check::passed(NAME, format!("{} is on {name}", there.display())),
        Some((_, name, Some(but))) => Check::warning(
            NAME,
            format!("{} is on {name}: {but}", there.display()),
            "use a local file system on a disk, such as ext4 or XFS",
        ),
    }
}

fn room(there: &Path) -> Check {
    match statvfs(there) {
        Ok(found) => {
            let bytes = |blocks: u64| Bytes(blocks.saturating_mul(found.f_frsize));
            let room = Room {
                free: bytes(found.f_bavail),
                size: bytes(found.f_blocks),
            };
            Check::of_room(there.display(), room, ENOUGH)
        }
        Err(error) => unknown("free space", there, error),
    }
}

fn unknown(name: &str, there: &Path, error: rustix::io::Errno) -> Check {
    let seen = format!(
        "asking the file system of {}: {}",
        there.display(),
        io::Error::from(error)
    );
    Check::failed(
        name,
        seen,
        "is the file system mounted, and its disk well? See `dmesg`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus;

    fn named<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        let found = checks.iter().find(|check| check.name == name);
        found.unwrap_or_else(|| panic!("no check `{name}` in {checks:#?}"))
    }

    #[test]
    fn a_root_that_is_not_there_can_be_made_and_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let checks = examine(&root);
        assert_eq!(named(&checks, "root").status, CheckStatus::Passed, "{checks:#?}");
        assert!(named(&checks, "root").seen.ends_with("can be made"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        named(&checks, "file system");
        named(&checks, "free space");
    }

    #[test]
    fn a_file_where_the_root_should_be_fails() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("file");
        std::fs::write(&root, "").unwrap();
        for path in [root.clone(), root.join("below")] {
            let check = named(&examine(&path), "root").clone();
            assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
            assert!(check.seen.contains("is no folder"), "{check:?}");
        }
    }

    #[test]
    fn a_root_in_memory_is_a_warning() {
        let proc = file_system(Path::new("/proc"));
        assert_eq!(proc.status, CheckStatus::Passed, "unknown, not wrong: {proc:?}");
        let shm = Path::new("/dev/shm");
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        if mounts.contains(" /dev/shm tmpfs ") {
            let check = file_system(shm);
            assert_eq!(check.status, CheckStatus::Warning, "{check:?}");
            assert!(check.seen.contains("lost with the next boot"));
        }
    }
}
