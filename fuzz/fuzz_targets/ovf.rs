//! OVF documents.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("ovf", bytes));
