//! Disk images, as far as our own readers go.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("image", bytes));
