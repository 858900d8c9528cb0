//! `cargo xtask soak`: long runs in which everything goes wrong that can, and nothing may be lost, wrong or left behind.

mod attach;

pub(crate) use attach::{AttachArgs, attach};
