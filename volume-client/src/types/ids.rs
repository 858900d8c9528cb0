//! The ids of volumes, operations, snapshots, leases and findings, which cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what} id (expected a UUID)")]
pub struct IdParseError {
    what: &'static str,
    text: String,
}

macro_rules! id {
    ($name:ident, $what:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// A time-ordered UUID (version 7): ids sort as the things were made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, unlike any other.
            #[must_use]
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // One spelling only: 36 characters with hyphens, so that one volume never has two names.
                let uuid = (text.len() == 36)
                    .then(|| Uuid::parse_str(text).ok())
                    .flatten();
                uuid.map(Self).ok_or_else(|| IdParseError {
                    what: $what,
                    text: text.chars().take(64).collect(),
                })
            }
        }
    };
}

id!(VolumeId, "volume", "The id of a volume of ours.");
id!(OperationId, "operation", "The id of an operation.");
id!(SnapshotId, "snapshot", "The id of a snapshot of a volume.");
id!(LeaseId, "lease", "The id of a lease on a volume's device.");

/// How many hexadecimal digits the id of a finding has.
const FINDING_DIGITS: usize = 12;

/// The id of a finding: 12 hexadecimal digits that follow from what it says and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
#[serde(transparent)]
pub struct FindingId(String);

impl FindingId {
    /// The id that begins this digest.
    #[must_use]
    pub fn of_digest(digest: &[u8]) -> Self {
        let mut digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.truncate(FINDING_DIGITS);
        Self(digits)
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FindingId {
    type Err = FindingIdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        match text.len() == FINDING_DIGITS && text.bytes().all(is_digit) {
            true => Ok(Self(text.to_owned())),
            false => Err(FindingIdParseError {
                text: text.chars().take(64).collect(),
            }),
        }
    }
}

/// A text that is no id of a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no finding id (expected 12 hexadecimal digits)")]
pub struct FindingIdParseError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_findings_id_is_twelve_digits() {
        let id = FindingId::of_digest(&[0xab; 32]);
        assert_eq!(id.to_string(), "abababababab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "ABABABABABAB",
            "abababababa",
            "ababababababab",
            "../../../etc",
        ] {
            assert!(bad.parse::<FindingId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = VolumeId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().replace('-', "").parse::<VolumeId>().is_err());
        assert!("../etc/passwd".parse::<VolumeId>().is_err());
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..100).map(|_| OperationId::new()).collect();
        assert!(ids.is_sorted());
    }
}
