//! Calendar expressions and sizes: what is printed is read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("calendar", bytes));
