//! Paths, descriptors, ranges, fingerprints and change ids, as people and servers write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("datastore", bytes));
