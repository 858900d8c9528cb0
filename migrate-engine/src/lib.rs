//! The migration engine: moves virtual machines' disks into volumes, as a thin client of the volume daemon.
//!
//! Modules stand lowest first; a module uses only those before it (`tests/tests/layering.rs` holds it to that).

pub mod model;

pub mod config;
pub mod process;

pub mod block;
pub mod transfer;

pub mod source;
pub mod worker;

pub mod target;

pub mod store;

pub mod pipeline;

pub mod schedule;

pub mod api;

pub mod app;
pub mod cli;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
