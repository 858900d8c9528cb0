//! The file of the four steps, which another JSON reader must take too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("steps", bytes));
