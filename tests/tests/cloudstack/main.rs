//! The daemon on CloudStack, where CloudStack misbehaves as it is known to: real daemon, real devices, faults on order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod appearance;
mod doubts;
mod limits;
mod orphans;
mod phantoms;
mod starting;
mod strangers;
mod support;
