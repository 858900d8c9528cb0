//! What packages bring, judged from the files themselves: units as systemd reads them, and lists of files that are there.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

#[path = "packaging/debian.rs"]
mod debian;
#[path = "packaging/sources.rs"]
mod sources;
#[path = "packaging/units.rs"]
mod units;

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
}
