//! The daemon's settings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed::fuzz::run("volumed_toml", bytes));
