//! Where the members of a JSON object stand in its text, to the byte.
//!
//! Whether a text is JSON is decided by `serde_json` ([`check`]); what is here only finds its way in a text that is.
//! Nothing is converted on the way: numbers and texts that nobody asked for may be spelt as they like.

use std::ops::Range;

use serde::de::IgnoredAny;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// The key, without its escapes.
    pub(super) key: String,
    /// Where the key stands, with its quotation marks.
    pub(super) name: Range<usize>,
    /// Where the value stands.
    pub(super) value: Range<usize>,
}

/// An object of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Where its `{` stands.
    pub(super) open: usize,
    /// Where its `}` stands.
    pub(super) close: usize,
    /// What is between, as it is written: a key may be there more than once.
    pub(super) members: Vec<Member>,
}

/// Where a text ceases to be JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) why: String,
}

/// Whether the text is one JSON value and nothing else.
pub(super) fn check(text: &str) -> Result<(), Break> {
    let broken = |line, column, why: &str| Break {
        line,
        column,
        why: why.to_owned(),
    };
    if text.starts_with('\u{feff}') {
        let why = "a byte order mark, which JSON does not have; save it as UTF-8 without";
        return Err(broken(1, 1, why));
    }
    if text.trim().is_empty() {
        return Err(broken(1, 1, "the file is empty; write {} or remove it"));
    }
    let Err(error) = serde_json::from_str::<IgnoredAny>(text) else {
        return Ok(());
    };
    let (line, column) = (error.line(), error.column().max(1));
    if is_behind_comma(text, line, column) {
        return Err(broken(
            line,
            column,
            "there is a comma and nothing behind it; remove the comma",
        ));
    }
    let why = error.to_string();
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    Err(broken(line, column, why))
}

/// Whether an object or a list ends there with a comma: what is left most often when a line was removed by hand.
fn is_behind_comma(text: &str, line: usize, column: usize) -> bool {
    let lines: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let at = (lines + column).saturating_sub(1);
    let ends = matches!(text.as_bytes().get(at), Some(b'}' | b']'));
    ends && text[..at].trim_end().ends_with(',')
}

impl Object {
    /// The object whose `{` stands at `at`, or behind white space there. `None` where something else stands there.
    pub(super) fn at(text: &str, at: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let open = after_space(bytes, at);
        if bytes.get(open) != Some(&b'{') {
            return None;
        }
        let mut members = Vec::new();
        let mut at = after_space(bytes, open + 1);
        while bytes.get(at) == Some(&b'"') {
            let name = at..after_string(bytes, at);
            let colon = after_space(bytes, name.end);
            let value = after_space(bytes, colon + 1);
            let value = value..after_value(bytes, value);
            at = after_space(bytes, value.end);
            if bytes.get(at) == Some(&b',') {
                at = after_space(bytes, at + 1);
            }
            let key = unescaped(&text[name.clone()]);
            members.push(Member { key, name, value });
        }
        let close = at;
        Some(Self { open, close, members })
    }

    /// The member of this key that counts: the last one, as for most readers of JSON.
    pub(super) fn get(&self, key: &str) -> Option<&Member> {
        self.members.iter().rfind(|member| member.key == key)
    }
}

/// The line that a place of a text is in, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// A key that is no Unicode, such as half of a surrogate pair, is none of ours: it stays as it is written.
fn unescaped(name: &str) -> String {
    serde_json::from_str(name).unwrap_or_else(|_| name.to_owned())
}

fn after_space(bytes: &[u8], at: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + bytes[at.min(bytes.len())..]
        .iter()
        .take_while(|byte| is_space(byte))
        .count()
}

fn after_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn after_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => after_string(bytes, at),
        Some(b'{' | b'[') => after_nest(bytes, at),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            at + bytes[at.min(bytes.len())..]
                .iter()
                .take_while(|byte| !ends(byte))
                .count()
        }
    }
}

fn after_nest(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = after_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}
