//! The contract of volumed: wire types (always), a typed client (`client`), and `volumectl` (`cli`).
//!
//! One definition of every wire type serves the daemon and its callers. Sizes are bytes, times RFC 3339 UTC,
//! field names `snake_case`.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod types;

#[cfg(feature = "client")]
pub use client::{ClientError, IdempotencyKey, OpenDevice, OpenedDevice, VolumedClient};
