//! `migrate-engine copy` from end to end: the real engine, the real daemon, real devices, images and NBD servers.
//!
//! After each copy, however it ended, nothing may be left but volumes that are attached to nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exports;
mod formats;
mod images;
mod interruptions;
mod progress;
mod refusals;
mod resuming;
mod support;
