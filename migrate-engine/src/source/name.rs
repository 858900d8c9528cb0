//! Names of files that others chose: plain ones only, so that a name can never lead anywhere.

/// The longest name that a Linux file system holds.
const LONGEST: usize = 255;

/// Why `name` is no plain file name, or `Ok`. A plain name has no separator, no scheme and no control character.
pub(super) fn plain(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("the name is empty"),
        "." | ".." => Err("it is a folder"),
        _ if name.len() > LONGEST => Err("the name is too long"),
        _ if name.contains(['/', '\\']) => Err("only files in the same place are read, by their plain name"),
        _ if name.contains(':') => Err("a colon could name a protocol"),
        _ if name.chars().any(char::is_control) => Err("the name holds control characters"),
        _ => Ok(()),
    }
}

/// `text` for people: without control characters, and of bounded length.
pub(super) fn printable(text: &str) -> String {
    const LONGEST_SHOWN: usize = 120;
    let mut shown: String = text
        .chars()
        .take(LONGEST_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for name in ["disk.vmdk", "my disk, 1.vmdk", "..disk", "-rf", "ü.vmdk"] {
            assert_eq!(plain(name), Ok(()), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../x",
            "a/b",
            "a\\b",
            "nbd:x",
            "a\nb",
            "a\0b",
        ] {
            assert!(plain(name).is_err(), "{name:?}");
        }
        assert!(plain(&"x".repeat(256)).is_err());
    }
}
