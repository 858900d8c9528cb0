//! Numbers and units of OVF documents, with no silent wrap.

use super::OvfError;
use crate::source::name::printable;

/// A decimal number.
pub(super) fn number(text: &str, what: &'static str) -> Result<u64, OvfError> {
    let digits = text.trim();
    let value = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    value.ok_or_else(|| OvfError::Number {
        what,
        value: printable(digits),
    })
}

/// `value` units in bytes. The largest size is what a signed 64-bit offset can name.
pub(super) fn bytes(value: &str, unit: Option<&str>, what: &'static str) -> Result<u64, OvfError> {
    let too_large = || OvfError::Number {
        what,
        value: printable(&format!("{value} {}", unit.unwrap_or("byte"))),
    };
    let factor = unit.map_or(Ok(1), self::unit)?;
    let size = number(value, what)?.checked_mul(factor).ok_or_else(too_large)?;
    if i64::try_from(size).is_ok() {
        Ok(size)
    } else {
        Err(too_large())
    }
}

/// The bytes of one unit: `byte`, `byte * 2^20`, `byte*1000*1000`, or the old words `MegaBytes` and the like.
pub(super) fn unit(text: &str) -> Result<u64, OvfError> {
    let unknown = || OvfError::Unit {
        unit: printable(text),
    };
    let mut factors = text.split('*').map(str::trim);
    let base = match factors.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "byte" | "bytes" => 1,
        "kilobyte" | "kilobytes" | "kb" => 1 << 10,
        "megabyte" | "megabytes" | "mb" => 1 << 20,
        "gigabyte" | "gigabytes" | "gb" => 1 << 30,
        "terabyte" | "terabytes" | "tb" => 1 << 40,
        _ => return Err(unknown()),
    };
    factors
        .try_fold(base, |unit: u64, factor| unit.checked_mul(power(factor)?))
        .ok_or_else(unknown)
}

/// `1024` or `2^10`.
fn power(text: &str) -> Option<u64> {
    let natural = |text: &str| {
        let text = text.trim();
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    let value = match text.split_once('^') {
        None => natural(text)?,
        Some((base, exponent)) => natural(base)?.checked_pow(natural(exponent)?.try_into().ok()?)?,
    };
    (value > 0).then_some(value)
}
