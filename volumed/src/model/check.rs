//! What a check of the surroundings found: how it is, and what to do where it is not well.

use super::Bytes;
use super::text::text_enum;

text_enum! {
    /// How a thing that was checked stands.
    CheckStatus ("check status") {
        /// As it should be.
        Passed = "passed",
        /// It works, but not as well or as safely as it could; or it could not be told.
        Warning = "warning",
        /// Something will not work.
        Failed = "failed",
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked, in a closed set of short names: `credentials`, `clock`, `permission deleteVolume`.
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

impl Check {
    /// A thing that is as it should be.
    pub fn passed(name: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: CheckStatus::Passed,
            seen: seen.into(),
            advice: None,
        }
    }

    /// A thing that could be better, or could not be told.
    pub fn warning(name: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Warning,
            advice: Some(advice.into()),
            ..Self::passed(name, seen)
        }
    }

    /// A thing that will not work.
    pub fn failed(name: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Failed,
            advice: Some(advice.into()),
            ..Self::passed(name, seen)
        }
    }

    /// The room of a file system: too little below a sixteenth of what is `enough`, little below all of it.
    pub fn of_room(place: impl std::fmt::Display, room: Room, enough: Bytes) -> Self {
        const NAME: &str = "free space";
        let (free, size) = (room.free.rounded(), room.size.rounded());
        let seen = format!("{free} of {size} are free in {place}");
        let advice = format!("make room: {} are a good reserve", enough.rounded());
        match room.free {
            free if free < Bytes(enough.0 / 16) => Self::failed(NAME, seen, advice),
            free if free < enough => Self::warning(NAME, seen, advice),
            _ => Self::passed(NAME, seen),
        }
    }
}

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What an ordinary process may still take.
    pub free: Bytes,
    /// All of it.
    pub size: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_what_is_enough() {
        let judged = |free| {
            let size = Bytes(100 << 30);
            Check::of_room("/srv", Room { free, size }, Bytes::GIB).status
        };
        assert_eq!(judged(Bytes::GIB), CheckStatus::Passed);
        assert_eq!(judged(Bytes((1 << 30) - 1)), CheckStatus::Warning);
        assert_eq!(judged(Bytes(64 << 20)), CheckStatus::Warning);
        assert_eq!(judged(Bytes((64 << 20) - 1)), CheckStatus::Failed);
    }
}
