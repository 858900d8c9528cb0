//! The kernel's lists of mounts and swap areas.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed::fuzz::run("mounts", bytes));
