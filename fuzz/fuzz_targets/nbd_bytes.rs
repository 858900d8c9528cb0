//! An NBD server that says any bytes at all, from its greeting on.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed_fuzz::converse(bytes));
