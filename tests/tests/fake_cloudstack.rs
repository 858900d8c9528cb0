//! The CloudStack of the tests does what is known of CloudStack: every command, every refusal, every fault.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fake_cloudstack/attachments.rs"]
mod attachments;
#[path = "fake_cloudstack/cloud.rs"]
mod cloud;
#[path = "fake_cloudstack/faults.rs"]
mod faults;
#[path = "fake_cloudstack/gate.rs"]
mod gate;
#[path = "fake_cloudstack/jobs.rs"]
mod jobs;
#[path = "fake_cloudstack/loops.rs"]
mod loops;
#[path = "fake_cloudstack/program.rs"]
mod program;
#[path = "fake_cloudstack/strangers.rs"]
mod strangers;
#[path = "fake_cloudstack/turmoil.rs"]
mod turmoil;
#[path = "fake_cloudstack/volumes.rs"]
mod volumes;
