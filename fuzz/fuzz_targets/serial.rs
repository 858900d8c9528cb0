//! Serials of disks, and the page that a SCSI disk answers with.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| volumed::fuzz::run("serial", bytes));
