//! What an operator should know of a configuration that can be used.

use std::fmt;

use super::section::Section;

/// Something about a file that is no error. Holds no value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A key that we do not know. It is kept, and has no effect here.
    UnknownKey {
        /// Section and key.
        key: String,
    },
    /// A key of a section that stands outside of it, where an older form of the file had it. It has no effect there.
    Misplaced {
        /// The key.
        key: String,
        /// Where it belongs.
        section: Section,
    },
    /// A key that is there more than once. The last one counts, as for other programs.
    Repeated {
        /// Section and key.
        key: String,
    },
    /// A value that the file does not give.
    DefaultTaken {
        /// Section and key.
        key: String,
        /// What is used.
        value: String,
    },
    /// A machine that is selected more than once.
    SelectedTwice {
        /// Its serial number.
        serial: usize,
    },
    /// Others can read the passwords in the file.
    OpenToOthers {
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key } => write!(f, "`{key}` is not known here: it is kept and has no effect"),
            Self::Misplaced { key, section } => write!(
                f,
                "`{key}` stands outside of `{section}` and has no effect there: move it into `{section}`"
            ),
            Self::Repeated { key } => write!(f, "`{key}` is there more than once: the last one counts"),
            Self::DefaultTaken { key, value } => write!(f, "`{key}` is not given: `{value}` is used"),
            Self::SelectedTwice { serial } => {
                write!(
                    f,
                    "`selected_vms` names {serial} more than once: it is taken once"
                )
            }
            Self::OpenToOthers { mode } => write!(
                f,
                "it holds passwords and others can read or change it (mode {mode:04o}): `chmod 600` it"
            ),
        }
    }
}
