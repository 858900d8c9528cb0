//! Days of the week as people write them: `Mon..Fri`, `Sat,Sun`.

use jiff::civil::Weekday;

use super::NotationError;

const NAMES: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// A set of days of the week; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekdays {
    /// Monday is bit 0.
    bits: u8,
}

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self { bits: 0x7f };

    /// Whether a day is one of them.
    #[must_use]
    pub fn contains(self, day: Weekday) -> bool {
        self.bits & (1 << day.to_monday_zero_offset()) != 0
    }

    /// Reads a list of days and ranges, with a comma between them: English names, whole or the first three letters, in
    /// either case.
    ///
    /// # Errors
    /// Names the day or range that is none.
    pub fn parse(text: &str) -> Result<Self, NotationError> {
        let mut bits = 0;
        for item in text.split(',') {
            // systemd takes both.
            let (first, last) = item
                .split_once("..")
                .or_else(|| item.split_once('-'))
                .unwrap_or((item, item));
            let (first, last) = (day(first)?, day(last)?);
            if last < first {
                let advice = "a range goes from Mon towards Sun; write the days with commas";
                return Err(NotationError::new(item, advice));
            }
            (first..=last).for_each(|day| bits |= 1 << day);
        }
        Ok(Self { bits })
    }
}

fn day(text: &str) -> Result<usize, NotationError> {
    let lower = text.to_ascii_lowercase();
    NAMES
        .iter()
        .position(|name| *name == lower || name[..3] == lower)
        .ok_or_else(|| {
            let advice = "write days of the week as Mon, Tue, Wed, Thu, Fri, Sat, Sun, a range as Mon..Fri";
            NotationError::new(text, advice)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_people_write_them() {
        for (text, bits) in [
            ("Mon..Fri", 0x1f),
            ("mon-fri", 0x1f),
            ("Sat,Sun", 0x60),
            ("Wednesday", 0x04),
            ("Mon,Wed..Thu,SUN", 0x4d),
        ] {
            assert_eq!(Weekdays::parse(text), Ok(Weekdays { bits }), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_is_named() {
        for (text, part) in [
            ("Mon..Fry", "Fry"),
            ("Fri..Mon", "Fri..Mon"),
            ("Mo", "Mo"),
            ("Mon,", ""),
        ] {
            assert_eq!(Weekdays::parse(text).unwrap_err().part, part, "{text}");
        }
    }
}
