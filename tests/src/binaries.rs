//! The programs under test, found beside the test that runs.

use std::path::PathBuf;

/// The path of one of the workspace's programs, built with the same profile as this test.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    // target/<profile>/deps/<test>
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests lie in target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is missing; build it first: cargo build --workspace --all-features",
        path.display()
    );
    path
}
