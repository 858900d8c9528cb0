//! What a fuzzer does with texts of datastores, and what must hold of whatever is believed.

use super::DatastorePath;
use super::content_range::ContentRange;
use super::descriptor::flat_extent;

/// Descriptors, ranges and paths.
pub(in super::super) fn texts(text: &str) {
    if let Ok(extent) = flat_extent(text) {
        assert!(
            !extent.file.contains(['/', '\\']) && extent.file != "..",
            "{extent:?}"
        );
        assert!(extent.size.is_multiple_of(512));
    }
    if let Some(range) = ContentRange::parse(text) {
        assert!(range.first <= range.last);
    }
    if let Ok(path) = text.parse::<DatastorePath>() {
        assert!(!path.file().split('/').any(|part| part == ".."), "{path}");
        // What a name could do to a request is encoded.
        let target = path.target(Some(text));
        let is_harmless = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>".contains(&byte);
        assert!(target.bytes().all(is_harmless), "{target}");
        assert_eq!(
            path.to_string().parse::<DatastorePath>().as_ref(),
            Ok(&path),
            "{path}"
        );
    }
}
