//! What fields must be: each rule once, said in the words that the caller reads.

use jiff::Timestamp;
use volume_client::types::{ErrorCode, SourceDisk};

use crate::model::Failure;

/// The largest size that is taken: what fits a signed 64-bit integer, as the kernel and SQLite count.
const LARGEST: u64 = i64::MAX as u64;

/// The time between renewals of a lease whose taker names none.
const DEFAULT_TTL: u32 = 60;

fn check(good: bool, rule: &str) -> Result<(), Failure> {
    match good {
        true => Ok(()),
        false => Err(Failure::new(ErrorCode::InvalidRequest, rule)),
    }
}

/// A name of a volume or a snapshot.
pub(super) fn name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._-".contains(c);
    check(
        (1..=128).contains(&name.len()) && name.chars().all(is_plain),
        "`name` must be 1 to 128 characters of letters, digits, space and `._-`",
    )
}

/// A name of a token.
pub(super) fn token_name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    check(
        (1..=64).contains(&name.len()) && name.chars().all(is_plain) && name != "introspect",
        "`name` must be 1 to 64 characters of letters, digits and `._-`, and not `introspect`",
    )
}

/// The end of a token.
pub(super) fn expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), Failure> {
    check(
        expires_at.is_none_or(|at| now < at),
        "`expires_at` must be to come",
    )
}

/// How long a former secret works on.
pub(super) fn overlap(seconds: u32, longest: u32) -> Result<(), Failure> {
    check(
        seconds <= longest,
        "`overlap_seconds` must be from 0 to 604800, a week",
    )
}

/// A size of a volume.
pub(super) fn size(bytes: u64) -> Result<(), Failure> {
    check(
        (1..=LARGEST).contains(&bytes),
        "`size_bytes` must be from 1 to 9223372036854775807",
    )
}

/// A source disk.
pub(super) fn source(source: &SourceDisk) -> Result<(), Failure> {
    check(
        is_text(&source.vm, 1..=255) && is_text(&source.disk, 1..=255),
        "`source.vm` and `source.disk` must be 1 to 255 characters without control characters",
    )
}

/// The id of a VM.
pub(super) fn vm_id(id: &str) -> Result<(), Failure> {
    check(
        is_text(id, 1..=128),
        "`vm_id` must be 1 to 128 characters without control characters",
    )
}

/// Who holds a lease, and more about it.
pub(super) fn holder(holder: &str, detail: Option<&str>) -> Result<(), Failure> {
    check(
        is_text(holder, 1..=200),
        "`holder` must be 1 to 200 characters without control characters",
    )?;
    check(
        detail.is_none_or(|detail| is_text(detail, 0..=1000)),
        "`detail` must be at most 1000 characters without control characters",
    )
}

/// Why a finding is passed over.
pub(super) fn why(why: &str) -> Result<(), Failure> {
    check(
        is_text(why, 1..=500) && !why.trim().is_empty(),
        "`why` must be 1 to 500 characters without control characters",
    )
}

/// The provider's id of a volume.
pub(super) fn provider_volume_id(id: &str) -> Result<(), Failure> {
    check(
        is_text(id, 1..=200),
        "`provider_volume_id` must be 1 to 200 characters without control characters",
    )
}

/// The time between renewals of a lease, if one is named.
pub(super) fn ttl(seconds: Option<u32>) -> Result<Option<u32>, Failure> {
    check(
        seconds.is_none_or(|seconds| (5..=86_400).contains(&seconds)),
        "`ttl_seconds` must be from 5 to 86400",
    )?;
    Ok(seconds)
}

/// The time between renewals of a new lease.
pub(super) fn new_ttl(seconds: Option<u32>) -> Result<u32, Failure> {
    Ok(ttl(seconds)?.unwrap_or(DEFAULT_TTL))
}

fn is_text(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "web-01 disk_2.img", &"x".repeat(128)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a\nb", "naïve", "$(rm)", &"x".repeat(129)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_fit_a_signed_number_and_are_not_nought() {
        assert!(size(1).is_ok() && size(LARGEST).is_ok());
        assert!(size(0).is_err() && size(LARGEST + 1).is_err());
    }

    #[test]
    fn leases_are_renewed_within_a_day() {
        assert_eq!(new_ttl(None), Ok(60));
        assert_eq!(new_ttl(Some(5)), Ok(5));
        assert!(ttl(Some(4)).is_err() && ttl(Some(86_401)).is_err());
        assert_eq!(ttl(None), Ok(None));
    }

    #[test]
    fn texts_for_people_have_no_control_characters() {
        assert!(holder("copy on host a", Some("job 7")).is_ok());
        assert!(holder("", None).is_err() && holder("a\u{1b}[2J", None).is_err());
        assert!(holder("a", Some(&"x".repeat(1001))).is_err());
        let disk = |vm: &str, disk: &str| SourceDisk {
            vm: vm.into(),
            disk: disk.into(),
        };
        assert!(source(&disk("vm", "disk 1")).is_ok());
        assert!(source(&disk("", "d")).is_err() && source(&disk("v", "\0")).is_err());
        assert!(why("a test disk").is_ok() && why(" ").is_err() && why(&"x".repeat(501)).is_err());
        assert!(provider_volume_id("p-1").is_ok() && provider_volume_id("").is_err());
        assert!(vm_id("").is_err() && vm_id("local").is_ok());
    }
}
