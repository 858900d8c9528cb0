//! Real devices, real servers and a small NBD client for the tests.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test support: each test binary uses its own part"
)]

pub mod client;
pub mod device;
pub mod pki;
pub mod server;

use std::time::{Duration, Instant};

/// Whether the machine can run these tests; in CI it must.
pub fn able() -> bool {
    let tool =
        |name: &str| std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|p| p.join(name).exists());
    let missing: Vec<_> = [
        "losetup",
        "nbd-server",
        "qemu-storage-daemon",
        "nbdinfo",
        "nbdcopy",
    ]
    .into_iter()
    .filter(|name| !tool(name))
    .collect();
    let why = if !rustix::process::geteuid().is_root() {
        "not root".to_owned()
    } else if !missing.is_empty() {
        format!("missing {missing:?}")
    } else {
        return true;
    };
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot run in CI: {why}"
    );
    eprintln!("SKIPPED: {why}");
    false
}

/// Polls a condition for at most ten seconds.
#[expect(clippy::disallowed_methods, reason = "the one bounded wait of these tests")]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
