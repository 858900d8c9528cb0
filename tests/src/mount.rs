//! Mounts that end with the test: a small file system of memory to fill up, or a device's own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mount; dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    /// Mounts an empty file system of memory that holds `bytes`, at a new directory `point`.
    #[must_use]
    pub fn memory(point: PathBuf, bytes: u64) -> Self {
        fs::create_dir_all(&point).unwrap();
        let options = std::ffi::CString::new(format!("size={bytes},mode=0755")).unwrap();
        mount("tmpfs", &point, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        Self { point }
    }

    /// Mounts the ext4 of `device` at a new directory `point`.
    #[must_use]
    pub fn ext4(device: &str, point: PathBuf) -> Self {
        fs::create_dir_all(&point).unwrap();
        mount(
            device,
            &point,
            "ext4",
            MountFlags::empty(),
            None::<&std::ffi::CStr>,
        )
        .unwrap();
        Self { point }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    fn ballast(&self) -> PathBuf {
        self.point.join("ballast")
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let chunk = vec![0xff; size];
            loop {
                match file.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling {}: {error}", self.point.display()),
                }
            }
        }
    }

    /// Gives the room back that [`Mount::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
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
