//! Answers of a vCenter or a host.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("soap", bytes));
