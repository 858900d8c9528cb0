//! The volume daemon: owns every call to the cloud about volumes and knows which kernel device is which volume.
//!
//! Modules stand lowest first; a module uses only those before it (`tests/tests/layering.rs` holds it to that).

mod crash;

pub mod model;

pub mod config;

pub mod metrics;

pub mod cloud;
pub mod device;
pub mod store;

pub mod auth;
pub mod operation;

pub mod reconcile;

pub mod doctor;
pub mod fsck;

pub mod api;

pub mod app;
pub mod cli;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
