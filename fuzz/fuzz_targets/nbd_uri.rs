//! Addresses of NBD exports: what is read and printed is read again as the same.
#![no_main]

use migrate_engine::block::NbdUri;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(uri) = text.parse::<NbdUri>() {
        let printed = uri.to_string();
        assert_eq!(printed.parse::<NbdUri>().as_ref(), Ok(&uri), "{printed}");
    }
});
