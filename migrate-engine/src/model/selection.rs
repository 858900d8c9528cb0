//! Which machines of a numbered list are meant: `1`, `1,3,5`, `5-7`, `1,3,5-7`, `all`.

use std::collections::BTreeSet;
use std::fmt;

/// The longest piece of what was written that an error repeats, in characters.
const LONGEST_PIECE: usize = 32;

/// Serial numbers of a list that begins with 1, each once and in order. Prints as it is written: `1,3,5-7`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection(BTreeSet<usize>);

/// A selection as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedSelection {
    /// What is meant.
    pub selection: Selection,
    /// Numbers that were written more than once. That does no harm, and may be a slip.
    pub repeated: Vec<usize>,
}

/// A text that selects nothing of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Nothing was written.
    #[error("nothing is selected: write numbers of the list, such as `1`, `1,3,5`, `5-7` or `all`")]
    Empty,
    /// The list is empty.
    #[error(
        "the list is empty, so nothing can be selected: look whether the source shows its machines to this user"
    )]
    NothingListed,
    /// There is nothing between two commas, or before the first or behind the last.
    #[error(
        "there is a comma with no number on one side: write the numbers with one comma between two, such as `1,3`"
    )]
    EmptyItem,
    /// A number is zero.
    #[error("the list begins with 1, there is no 0: write numbers from 1 to {listed}")]
    Zero {
        /// How many machines the list has.
        listed: usize,
    },
    /// A number is beyond the end of the list.
    #[error("there is no number {number}: the list ends with {listed}, write numbers from 1 to {listed}")]
    Beyond {
        /// The number, as it was written.
        number: String,
        /// How many machines the list has.
        listed: usize,
    },
    /// A range that ends before it begins.
    #[error("the range {first}-{last} ends before it begins: write `{last}-{first}`")]
    Reversed {
        /// Its first number.
        first: usize,
        /// Its last number.
        last: usize,
    },
    /// Something else than a number or a range.
    #[error(
        "`{0}` is neither a number nor a range: write numbers with commas between, such as `1,3,5-7`, or `all` alone"
    )]
    NotANumber(String),
}

impl Selection {
    /// Reads what a person wrote about a list of `listed` machines. Spaces count for nothing.
    ///
    /// # Errors
    /// What is wrong with it, and what to write. Nothing of it is taken then.
    pub fn parse(text: &str, listed: usize) -> Result<ParsedSelection, SelectionError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SelectionError::Empty);
        }
        if listed == 0 {
            return Err(SelectionError::NothingListed);
        }
        if text.eq_ignore_ascii_case("all") {
            return Ok(ParsedSelection {
                selection: (1..=listed).collect(),
                repeated: Vec::new(),
            });
        }
        let (mut chosen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for item in text.split(',') {
            let (first, last) = range(item.trim(), listed)?;
            repeated.extend((first..=last).filter(|number| !chosen.insert(*number)));
        }
        Ok(ParsedSelection {
            selection: Self(chosen),
            repeated: repeated.into_iter().collect(),
        })
    }

    /// The serial numbers, which begin with 1, in order.
    pub fn serials(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }

    /// Whether the machine of this serial number is meant.
    #[must_use]
    pub fn contains(&self, serial: usize) -> bool {
        self.0.contains(&serial)
    }

    /// How many machines are meant.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries of `list` that are meant, in its order.
    ///
    /// # Errors
    /// Where nothing is selected, or a number has no entry: the list may have become shorter since it was selected from.
    pub fn pick<'a, T>(&self, list: &'a [T]) -> Result<Vec<&'a T>, SelectionError> {
        if self.is_empty() {
            return Err(SelectionError::Empty);
        }
        let entry = |serial: usize| {
            let index = serial
                .checked_sub(1)
                .ok_or(SelectionError::Zero { listed: list.len() })?;
            list.get(index).ok_or_else(|| beyond(serial, list.len()))
        };
        self.serials().map(entry).collect()
    }
}

impl FromIterator<usize> for Selection {
    fn from_iter<I: IntoIterator<Item = usize>>(serials: I) -> Self {
        Self(serials.into_iter().collect())
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut serials = self.serials().peekable();
        let mut comma = "";
        while let Some(first) = serials.next() {
            let mut last = first;
            while let Some(next) = serials.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

fn range(item: &str, listed: usize) -> Result<(usize, usize), SelectionError> {
    if item.is_empty() {
        return Err(SelectionError::EmptyItem);
    }
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (digits(first, item)?, digits(last, item)?);
    let (first, last) = (number(first, listed)?, number(last, listed)?);
    if last < first {
        return Err(SelectionError::Reversed { first, last });
    }
    Ok((first, last))
}

/// The digits of a number; nothing is said of its size.
fn digits<'a>(text: &'a str, item: &str) -> Result<&'a str, SelectionError> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then_some(text)
        .ok_or_else(|| SelectionError::NotANumber(piece(item)))
}

fn number(digits: &str, listed: usize) -> Result<usize, SelectionError> {
    match digits.parse() {
        Ok(0) => Err(SelectionError::Zero { listed }),
        Ok(number) if number <= listed => Ok(number),
        // What is too long for a number is beyond the end as well.
        _ => Err(beyond(piece(digits), listed)),
    }
}

fn beyond(number: impl ToString, listed: usize) -> SelectionError {
    SelectionError::Beyond {
        number: number.to_string(),
        listed,
    }
}

/// A part of what was written that can be shown: short, and in one line.
fn piece(text: &str) -> String {
    text.chars()
        .take(LONGEST_PIECE)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn serials(text: &str, listed: usize) -> Vec<usize> {
        Selection::parse(text, listed)
            .unwrap()
            .selection
            .serials()
            .collect()
    }

    #[test]
    fn numbers_ranges_and_all_are_read() {
        for (text, expected) in [
            ("1", vec![1]),
            ("1,3,5", vec![1, 3, 5]),
            ("5-7", vec![5, 6, 7]),
            ("1,3,5-7", vec![1, 3, 5, 6, 7]),
            (" 7 , 5 -\t6 ,1\n", vec![1, 5, 6, 7]),
            ("3-3", vec![3]),
            ("007", vec![7]),
            ("all", (1..=8).collect()),
            (" All ", (1..=8).collect()),
        ] {
            assert_eq!(serials(text, 8), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_twice_is_taken_once_and_noted() {
        let parsed = Selection::parse("3,1-4,3,4", 8).unwrap();
        assert_eq!(parsed.selection.serials().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(parsed.repeated, [3, 4]);
        assert!(Selection::parse("1,2-4", 8).unwrap().repeated.is_empty());
    }

    #[test]
    fn bad_selections_say_what_to_write() {
        for (text, expected) in [
            ("", "write numbers of the list"),
            (" \t", "write numbers of the list"),
            ("0", "write numbers from 1 to 8"),
            ("0-3", "write numbers from 1 to 8"),
            ("9", "no number 9: the list ends with 8"),
            ("2,5-9", "no number 9: the list ends with 8"),
            ("1-99999999999999999999999", "the list ends with 8"),
            ("7-5", "write `5-7`"),
            ("1,,3", "one comma between two"),
            (",", "one comma between two"),
            ("1,", "one comma between two"),
            ("web", "`web` is neither a number nor a range"),
            ("1 3", "`1 3` is neither"),
            ("-3", "`-3` is neither"),
            ("+3", "`+3` is neither"),
            ("3-", "`3-` is neither"),
            ("1-2-3", "`1-2-3` is neither"),
            ("1.5", "`1.5` is neither"),
            ("1,all", "`all` alone"),
            ("٣", "neither a number nor a range"),
        ] {
            let error = Selection::parse(text, 8).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert_eq!(Selection::parse("all", 0), Err(SelectionError::NothingListed));
    }

    #[test]
    fn an_error_stays_short_and_in_one_line() {
        let error = Selection::parse(&"x\n\u{1b}[2J".repeat(1000), 8)
            .unwrap_err()
            .to_string();
        assert!(error.len() < 400 && !error.contains(['\n', '\u{1b}']), "{error}");
    }

    #[test]
    fn entries_are_picked_in_the_order_of_the_list() {
        let list = ["a", "b", "c"];
        let selection: Selection = [3, 1].into_iter().collect();
        assert_eq!(selection.pick(&list).unwrap(), [&"a", &"c"]);
        let error = selection.pick(&list[..2]).unwrap_err();
        assert_eq!(error, beyond(3, 2));
        assert_eq!(Selection::default().pick(&list), Err(SelectionError::Empty));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(serials in prop::collection::btree_set(1_usize..200, 1..60)) {
            let selection = Selection(serials);
            let parsed = Selection::parse(&selection.to_string(), 200).unwrap();
            prop_assert_eq!(parsed, ParsedSelection { selection, repeated: Vec::new() });
        }

        #[test]
        fn no_text_selects_what_is_not_listed(text in "[0-9,\\- al]{0,24}", listed in 0_usize..50) {
            if let Ok(parsed) = Selection::parse(&text, listed) {
                prop_assert!(!parsed.selection.is_empty());
                prop_assert!(parsed.selection.serials().all(|serial| (1..=listed).contains(&serial)));
            }
        }
    }
}
