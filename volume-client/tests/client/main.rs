//! The client against a daemon that fails in every way, and against real block devices.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking and say why they are skipped"
)]

#[path = "../fake/mod.rs"]
mod fake;

mod backup;
mod calls;
mod following;
mod open_device;

use std::time::Duration;

use fake::Fake;
use volume_client::VolumedClient;

fn client(fake: &Fake) -> VolumedClient {
    let builder = VolumedClient::builder().unix(&fake.socket);
    builder
        .request_timeout(Duration::from_millis(300))
        .build()
        .unwrap()
}
