//! The documents: nothing in them leads nowhere, and what they say of commands, codes and settings is what the programs do.
//!
//! `UPDATE_GOLDEN=1` rewrites the transcripts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_lines;
mod links;
mod page;
mod programs;
mod reference;
mod settings;
mod transcripts;
