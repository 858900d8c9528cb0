//! A set of numbers as one component of a calendar expression writes it: `*`, `5`, `1..5`, `0/15`, `1,10..20/5`.

use std::ops::RangeInclusive;

use super::NotationError;

/// Numbers in ascending order, each once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers(Vec<i16>);

impl Numbers {
    /// Reads a component whose numbers lie within `bounds`.
    pub(super) fn parse(text: &str, bounds: &RangeInclusive<i16>) -> Result<Self, NotationError> {
        if text == "*" {
            return Ok(Self(bounds.clone().collect()));
        }
        let mut numbers = Vec::new();
        for item in text.split(',') {
            numbers.extend(self::item(item, bounds)?);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers))
    }

    pub(super) fn contains(&self, number: i16) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    pub(super) fn first(&self) -> i16 {
        *self.0.first().expect("an item that was read has a number")
    }

    /// The least of them that is not below `number`.
    pub(super) fn at_least(&self, number: i16) -> Option<i16> {
        self.0
            .get(self.0.partition_point(|other| *other < number))
            .copied()
    }
}

/// `first[..last][/step]`. With a step and no end it goes on to the end of the bounds.
fn item(text: &str, bounds: &RangeInclusive<i16>) -> Result<Vec<i16>, NotationError> {
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (text, None),
    };
    if range == "*" {
        let advice = match step {
            Some(step) => format!(
                "write `{}/{step}`, which says where the steps begin",
                bounds.start()
            ),
            None => "`*` means all and stands alone".to_owned(),
        };
        return Err(NotationError::new(text, advice));
    }
    let (first, last) = match range.split_once("..") {
        Some((first, last)) => (number(first, bounds)?, number(last, bounds)?),
        None => {
            let only = number(range, bounds)?;
            (only, step.map_or(only, |_| *bounds.end()))
        }
    };
    if last < first {
        let advice = "a range goes from the smaller to the larger number; write two, with a comma";
        return Err(NotationError::new(text, advice));
    }
    let step = step.map_or(Ok(1), |step| number(step, &(1..=*bounds.end())))?;
    let step = usize::try_from(step).expect("a step is at least 1");
    Ok((first..=last).step_by(step).collect())
}

fn number(text: &str, bounds: &RangeInclusive<i16>) -> Result<i16, NotationError> {
    let (least, most) = (bounds.start(), bounds.end());
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && bounds.contains(&number) => Ok(number),
        _ => Err(NotationError::new(
            text,
            format!("write a number from {least} to {most}, a range as `{least}..{most}`, or `*` for all"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_sets() {
        for (text, numbers) in [
            ("5", vec![5]),
            ("05", vec![5]),
            ("0/15", vec![0, 15, 30, 45]),
            ("50/5", vec![50, 55]),
            ("1..3", vec![1, 2, 3]),
            ("10..20/5,40,10", vec![10, 15, 20, 40]),
        ] {
            assert_eq!(Numbers::parse(text, &(0..=59)), Ok(Numbers(numbers)), "{text}");
        }
        assert_eq!(Numbers::parse("*", &(1..=3)), Ok(Numbers(vec![1, 2, 3])));
    }

    #[test]
    fn what_is_no_component_is_named() {
        for (text, part) in [
            ("", ""),
            ("60", "60"),
            ("1,x", "x"),
            ("1,", ""),
            ("20..10", "20..10"),
            ("*/15", "*/15"),
            ("1,*", "*"),
            ("0/0", "0"),
            ("1-5", "1-5"),
            ("+5", "+5"),
            ("99999999", "99999999"),
        ] {
            assert_eq!(Numbers::parse(text, &(0..=59)).unwrap_err().part, part, "{text}");
        }
    }
}
