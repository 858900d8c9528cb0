//! What people write about a numbered list: `1,3,5-7`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("selection", bytes));
