//! Tar archives, and what another reader makes of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("archive", bytes));
