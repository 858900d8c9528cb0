//! The programs under test, found beside the test or the program that runs.

use std::path::PathBuf;

/// The path of one of the workspace's programs, built with the same profile as this test or program.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let us = std::env::current_exe().expect("a process knows its program");
    let place = us.parent().expect("a program lies in a directory");
    // Programs lie in target/<profile>, tests in target/<profile>/deps.
    let profile = match place.parent() {
        Some(profile) if place.ends_with("deps") => profile,
        _ => place,
    };
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is missing; build it first: cargo build --workspace --all-features",
        path.display()
    );
    path
}
