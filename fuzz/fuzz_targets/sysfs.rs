//! A disk's attributes in sysfs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed::fuzz::run("sysfs", bytes));
