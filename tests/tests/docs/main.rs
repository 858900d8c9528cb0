//! The documents: nothing in them leads nowhere, and what they say of commands, codes and settings is what the programs do.
//!
//! `UPDATE_GOLDEN=1` rewrites the transcripts.

mod command_lines;
mod links;
mod page;
mod programs;
mod reference;
mod settings;
mod transcripts;
