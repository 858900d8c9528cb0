//! Tests of the client against a small server in this process.

mod channel;
mod discovery;
mod folder;
mod reader;
mod server;
mod session;
mod task;
mod trust;
