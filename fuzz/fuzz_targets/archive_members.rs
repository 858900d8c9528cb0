//! Tar archives whose checksums are right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("archive_members", bytes));
