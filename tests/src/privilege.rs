//! The one prerequisite of these tests: root, for loop devices and mounts.

/// Whether this runs as root; says aloud that the test is skipped where not.
///
/// # Panics
/// In CI (`CI` is set), where nothing may be skipped.
#[must_use]
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
    eprintln!("SKIPPED: needs root for loop devices and mounts");
    false
}
