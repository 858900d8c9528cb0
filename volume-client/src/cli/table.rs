//! Tables and the words in them: one row per thing, no lines, no colours, nothing that a terminal would obey.

use std::fmt;

use comfy_table::{ContentArrangement, presets};
use jiff::Timestamp;
use serde::Serialize;

/// What stands where there is nothing.
const NONE: &str = "-";

/// A table of text.
pub(super) struct Table(comfy_table::Table);

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(columns.iter().map(|c| c.to_uppercase()));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| plain(&cell)));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.trim_fmt())
    }
}

/// The facts about one thing, one a line.
pub(super) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let lines = pairs.iter().map(|(name, value)| {
        let name = format!("{name}:");
        format!("{name:width$}  {}", plain(value)).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Text from elsewhere, made harmless for a terminal and for the shape of a table.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || turns(c) { '?' } else { c })
        .collect()
}

/// Unicode's marks of direction: with them a name can look like another one.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text that takes at most so many characters: what is cut off is shown to be.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// A word of the API, as the API writes it.
pub(super) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => NONE.to_owned(),
    }
}

pub(super) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

pub(super) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// To the second; UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_shown_to_be() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let mut table = Table::new(&["name", "size"]);
        table.row(["a\u{1b}[31m\nb".to_owned(), "1 B".to_owned()]);
        assert_eq!(table.to_string(), "NAME      SIZE\na?[31m?b  1 B");
        assert_eq!(
            facts(&[("name", "a\rb\u{202e}c".to_owned()), ("id", "1".to_owned())]),
            "name:  a?b?c\nid:    1"
        );
    }
}
