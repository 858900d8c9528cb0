//! Pages of changed areas: what comes of them covers all that was told, in order.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| migrate_engine::fuzz::run("changed_areas", bytes));
