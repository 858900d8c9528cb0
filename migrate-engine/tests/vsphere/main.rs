//! The vSphere source against a vCenter and a host of the tests' simulator, each test with one of its own.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its disks are small"
)]

mod copies;
mod discovery;
mod reader;
mod sessions;
mod site;
mod snapshots;
mod tripwire;
