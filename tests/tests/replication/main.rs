//! The service of replications: a real daemon, real devices and exports, and a simulated vCenter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod canaries;
mod contract;
mod cost;
mod cycles;
mod files;
mod followed;
mod interruptions;
mod library;
mod line;
mod operator;
mod schedules;
mod support;
mod tokens;
mod traces;
mod worker;
