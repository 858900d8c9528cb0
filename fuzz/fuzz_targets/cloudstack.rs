//! Answers of CloudStack.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed::fuzz::run("cloudstack", bytes));
