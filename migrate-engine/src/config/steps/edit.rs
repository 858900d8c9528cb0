//! Changes one section of a JSON text and leaves every other byte as it is.

use std::ops::Range;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

use super::error::Flaw;
use super::section::Section;
use super::span::{Member, Object, line_of};

/// What becomes of a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Its value is replaced.
    Whole(Value),
    /// These keys of it are set, in this order where they are new; its other keys stay, to the byte.
    Keys(Vec<(&'static str, Value)>),
}

/// How a file is laid out, as far as what is new in it should look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Style {
    newline: &'static str,
    /// What one level is indented by; `None` where all is in one line.
    indent: Option<String>,
}

/// The text with one section changed. `text` has to be JSON ([`super::span::check`]).
pub(super) fn edited(text: &str, section: Section, content: &Content) -> Result<String, Flaw> {
    let root = Object::at(text, 0).ok_or_else(no_object)?;
    let style = Style::of(text, &root);
    let editor = Editor { style: &style };
    let pairs = match content {
        Content::Whole(value) => return Ok(editor.set(text, &root, section.key(), value, 1)),
        Content::Keys(pairs) => pairs,
    };
    let Some(place) = root.get(section.key()).map(|member| member.value.clone()) else {
        return Ok(editor.set(text, &root, section.key(), &Pairs(pairs), 1));
    };
    if &text[place.clone()] == "null" {
        return Ok(editor.set(text, &root, section.key(), &Pairs(pairs), 1));
    }
    let mut text = text.to_owned();
    for (key, value) in pairs {
        let inner = Object::at(&text, place.start).ok_or_else(|| no_section(&text, section, &place))?;
        text = editor.set(&text, &inner, key, value, 2);
    }
    Ok(text)
}

/// What is wrong with a file that is no object.
pub(super) fn no_object() -> Flaw {
    Flaw {
        key: String::new(),
        line: Some(1),
        why: "is no object: the file has to begin with `{` and to end with `}`".to_owned(),
    }
}

/// What is wrong with a section that has to be an object.
pub(super) fn no_section(text: &str, section: Section, place: &Range<usize>) -> Flaw {
    Flaw {
        key: section.to_string(),
        line: Some(line_of(text, place.start)),
        why: format!(
            "is {}: write an object, such as {{\"{}\": …}}",
            kind(&text[place.clone()]),
            super::field::Field::of(section)
                .next()
                .map_or("", |field| field.key)
        ),
    }
}

/// What a JSON value is, in words; never what it says.
pub(super) fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

struct Editor<'a> {
    style: &'a Style,
}

impl Editor<'_> {
    /// Sets a key of an object whose members are `depth` levels deep.
    fn set(&self, text: &str, object: &Object, key: &str, value: &impl Serialize, depth: usize) -> String {
        let value = self.style.render(value, depth);
        if let Some(member) = object.get(key) {
            return spliced(text, member.value.clone(), &value);
        }
        match object.members.last() {
            Some(last) => {
                let (gap, colon) = gaps(text, object, last);
                let new = format!(",{gap}\"{key}\"{colon}{value}");
                spliced(text, last.value.end..last.value.end, &new)
            }
            None => {
                let inside = &text[object.open + 1..object.close];
                let new = self.style.alone(inside, &format!("\"{key}\": {value}"), depth);
                spliced(text, object.open + 1..object.open + 1, &new)
            }
        }
    }
}

/// What stands before the last key, and between it and its value: the next member is written alike.
fn gaps<'a>(text: &'a str, object: &Object, last: &Member) -> (&'a str, &'a str) {
    let before = &text[..last.name.start];
    let gap = &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
    let colon = &text[last.name.end..last.value.start];
    // Behind an opening brace there is often no space where there would be one behind a comma.
    let is_tight = gap.is_empty() && object.members.len() == 1 && colon.ends_with(' ');
    (if is_tight { " " } else { gap }, colon)
}

fn spliced(text: &str, place: Range<usize>, new: &str) -> String {
    [&text[..place.start], new, &text[place.end..]].concat()
}

impl Style {
    fn of(text: &str, root: &Object) -> Self {
        let inside = &text[root.open + 1..root.close];
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let indent = match root.members.first() {
            Some(first) => {
                let gap = &text[root.open + 1..first.name.start];
                gap.rsplit_once('\n').map(|(_, indent)| indent.to_owned())
            }
            None if inside.is_empty() || inside.contains('\n') => Some("  ".to_owned()),
            None => None,
        };
        Self { newline, indent }
    }

    /// A value as it stands `depth` levels deep.
    fn render(&self, value: &impl Serialize, depth: usize) -> String {
        const SURE: &str = "texts, numbers, lists and maps with texts for keys always become JSON";
        let Some(indent) = &self.indent else {
            return serde_json::to_string(value).expect(SURE);
        };
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(indent.as_bytes());
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        value.serialize(&mut serializer).expect(SURE);
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        // No text of JSON has a line break in it, so each of them is between values.
        text.replace('\n', &self.line(depth))
    }

    /// What stands in an object that had no member: the new one, before what was `inside`.
    fn alone(&self, inside: &str, member: &str, depth: usize) -> String {
        if self.indent.is_none() {
            return member.to_owned();
        }
        let end = if inside.contains('\n') {
            String::new()
        } else {
            self.line(depth - 1)
        };
        format!("{}{member}{end}", self.line(depth))
    }

    /// A new line, indented so many levels.
    fn line(&self, depth: usize) -> String {
        let indent = self.indent.as_deref().unwrap_or_default();
        format!("{}{}", self.newline, indent.repeat(depth))
    }
}

/// Keys and values as one object, in their order.
struct Pairs<'a>(&'a [(&'static str, Value)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
