//! Texts of others as a terminal may show them.

/// Without what a terminal would obey, or would show in another order than it is written. One line.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || turns(c) { '?' } else { c })
        .collect()
}

/// JSON with such characters escaped, which means the same.
pub(super) fn plain_json(value: &serde_json::Value) -> String {
    let text = format!("{value:#}");
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if c.is_control() || turns(c) => shown += &format!("\\u{:04x}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown
}

/// Unicode's marks of direction: with them a name can look like another one.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_would_obey() {
        assert_eq!(plain("a\x1b[2J\n\u{9b}b\u{202e}c ü"), "a?[2J??b?c ü");
        let value = serde_json::json!({"name": "a\u{9b}\u{7f}\u{202e}ü\n"});
        let shown = plain_json(&value);
        assert!(!shown.contains(['\u{9b}', '\u{7f}', '\u{202e}']), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
