//! Mounts that end with the test: a small file system of memory to fill up, or a device's own.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A mount; dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    bytes: u64,
}

impl Mount {
    /// Mounts an empty file system of memory that holds `bytes`, at a new directory `point`.
    #[must_use]
    pub fn memory(point: PathBuf, bytes: u64) -> Self {
        fs::create_dir_all(&point).unwrap();
        let options = CString::new(format!("size={bytes},mode=0755")).unwrap();
        mount("tmpfs", &point, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        Self { point, bytes }
    }

    /// Mounts the ext4 of `device` at a new directory `point`.
    #[must_use]
    pub fn ext4(device: &str, point: PathBuf) -> Self {
        fs::create_dir_all(&point).unwrap();
        mount(device, &point, "ext4", MountFlags::empty(), None::<&CStr>).unwrap();
        Self { point, bytes: 0 }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Takes all room that is left, in one step: what its users then make room for is theirs.
    ///
    /// # Panics
    /// Where it is not of memory.
    pub fn fill(&self) {
        loop {
            let found = statvfs(&self.point).unwrap();
            let used = (found.f_blocks - found.f_bfree) * found.f_frsize;
            match self.resize(used) {
                Ok(()) => return,
                // Somebody wrote in between.
                Err(Errno::INVAL) => {}
                Err(error) => panic!("filling {}: {error}", self.point.display()),
            }
        }
    }

    /// Gives the room back that [`Mount::fill`] took.
    pub fn free(&self) {
        self.resize(self.bytes).unwrap();
    }

    fn resize(&self, bytes: u64) -> Result<(), Errno> {
        let size = CString::new(format!("size={bytes}")).unwrap();
        mount_remount(&self.point, MountFlags::empty(), size.as_c_str())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(&self.point, UnmountFlags::DETACH);
    }
}

/// Unmounts whatever is mounted below `dir`, the last mounted first.
pub(crate) fn unmount_within(dir: &Path) {
    let Ok(dir) = dir.canonicalize() else { return };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(4));
    let within: Vec<_> = points
        .filter(|point| Path::new(point).starts_with(&dir))
        .collect();
    for point in within.into_iter().rev() {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}
