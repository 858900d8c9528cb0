//! A loop as peers have it: it looks for the device once a second, and takes it when it is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks for the device of this image, for the first time after `phase`, and then once a second; when it was found.
pub(super) async fn find(image: PathBuf, phase: Duration) -> Instant {
    tokio::time::sleep(phase).await;
    let mut looks = tokio::time::interval(PERIOD);
    loop {
        looks.tick().await;
        if is_there(&image) {
            return Instant::now();
        }
    }
}

/// A loop device has no `serial` in sysfs; what it is bound to stands for it, at the same cost of one file a disk.
fn is_there(image: &Path) -> bool {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    disks.into_iter().any(|disk| {
        let file = fs::read_to_string(disk.path().join("loop/backing_file"));
        file.is_ok_and(|file| Path::new(file.trim_end_matches('\n')) == image)
    })
}
