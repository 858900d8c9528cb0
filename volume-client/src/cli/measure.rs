//! Sizes and times as people write them, and sizes as people read them.

use std::time::Duration;

const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Bytes from `10GiB`, `5GB`, `4096`. Units are exact; a bare `G` is refused, for it means two things.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim();
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is no size (expected 10GiB, 5GB, or bytes)"))?;
    let factor =
        factor(unit).ok_or_else(|| format!("`{unit}` is no unit (expected MiB, GiB, TiB or MB, GB, TB)"))?;
    match number.checked_mul(factor) {
        Some(0) => Err("a size is at least one byte".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("`{text}` is beyond 16 EiB")),
    }
}

fn factor(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    let power = |units: &[&str], base: u64| {
        let at = units.iter().position(|u| u.eq_ignore_ascii_case(unit))?;
        Some((0..at).map(|_| base).product())
    };
    power(&BINARY, 1024).or_else(|| power(&DECIMAL, 1000))
}

/// `10 GiB` where that is exact, `10.5 GiB` (rounded down) where it is not.
pub(super) fn human_size(bytes: u64) -> String {
    let (mut unit, mut power) = (1_u64, 0);
    while power + 1 < BINARY.len() && bytes / unit >= 1024 {
        unit *= 1024;
        power += 1;
    }
    let (whole, rest) = (bytes / unit, bytes % unit);
    if rest == 0 {
        return format!("{whole} {}", BINARY[power]);
    }
    let tenth = u128::from(rest) * 10 / u128::from(unit);
    format!("{whole}.{tenth} {}", BINARY[power])
}

/// `90`, `90s`, `2m`, `1h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time (expected 90, 90s, 2m or 1h)");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    let number: u32 = digits.parse().map_err(|_| bad())?;
    if number == 0 {
        return Err("a time is at least one second".to_owned());
    }
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_their_units_say() {
        for (text, bytes) in [
            ("4096", 4096),
            ("1B", 1),
            ("10GiB", 10 << 30),
            ("10 gib", 10 << 30),
            ("5GB", 5_000_000_000),
            ("3kB", 3000),
            ("1KiB", 1024),
            ("15EiB", 15 << 60),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "0",
            "0GiB",
            "-1",
            "1.5GiB",
            "G",
            "10G",
            "10GiBs",
            "16EiB",
            "99999999999999999999",
            "1 2GB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_exactly_or_rounded_down() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (10 << 30, "10 GiB"),
            ((10 << 30) + 1, "10.0 GiB"),
            ((10 << 30) + (1 << 29), "10.5 GiB"),
            ((1 << 40) - 1, "1023.9 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn times_have_seconds_minutes_and_hours() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "0", "m", "1d", "-1", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
