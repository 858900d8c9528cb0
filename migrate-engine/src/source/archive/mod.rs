//! The members of an OVA: a tar archive read by its headers only, where everything odd is refused.
//!
//! Nothing is ever extracted through a name. A member is a window of the archive, so all that an archive can do to us
//! is to lie about names and sizes; each lie that could matter has an error of its own.
//!
//! Memory is bounded by the number of members and one extended header (64 KiB).

mod extended;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;

use super::file::{ReadAt, Window};
use super::name::{plain, printable};

const BLOCK: u64 = 512;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Reading failed.
    #[error("reading the header at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The archive ends before what its headers promise.
    #[error("it is truncated: {what} needs {needed} bytes, but the archive has {actual}")]
    Truncated {
        /// What is incomplete.
        what: String,
        /// Bytes the archive must at least have.
        needed: u64,
        /// Bytes it has.
        actual: u64,
    },
    /// A header does not bear out its checksum, or a number in it is none.
    #[error("the header at byte {offset} is damaged: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A member has a name that leads elsewhere.
    #[error(
        "the member `{name}` is refused: {reason}; make it anew with `tar --format=ustar -cf X.ova X.ovf …` in its own folder"
    )]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member is no plain file.
    #[error("the member `{name}` is {kind}: only plain files are read")]
    Kind {
        /// The name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two members have one name.
    #[error("the member `{name}` is there twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An extended header changes what the plain one says.
    #[error("the extended header at byte {offset} is refused: {reason}")]
    Extended {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There are more members than we accept.
    #[error("it has more than {limit} members")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// A plain file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) window: Window,
}

/// Lists the members, in order.
///
/// # Errors
/// Any [`ArchiveError`]. All sizes are checked against the archive's real length: what is listed is there.
pub(super) fn members(archive: &impl ReadAt, limit: usize) -> Result<Vec<Member>, ArchiveError> {
    let mut members: Vec<Member> = Vec::new();
    let mut names = HashSet::new();
    let (mut offset, mut extended, mut headers) = (0_u64, None, 0_usize);
    loop {
        let header = read_header(archive, offset)?;
        if header.iter().all(|byte| *byte == 0) {
            return match extended {
                None => Ok(members),
                Some(_) => Err(ArchiveError::Damaged {
                    offset,
                    what: "an extended header has no file",
                }),
            };
        }
        headers += 1;
        // Extended headers count as well: a chain of them would cost time without end.
        if headers > limit.saturating_mul(3) || members.len() == limit {
            return Err(ArchiveError::TooMany { limit });
        }
        verify_checksum(&header, offset)?;
        let kind = header[156];
        let mut size = number(&header[124..136], offset)?;
        if let b'x' | b'g' = kind {
            let told = extended::read(archive, offset, size)?;
            offset = end_of(archive, offset, size, "an extended header")?;
            if kind == b'g' && told.is_some() {
                let reason = "it gives a size to all members that follow".to_owned();
                return Err(ArchiveError::Extended { offset, reason });
            }
            if kind == b'x' && extended.replace(told).is_some() {
                return Err(ArchiveError::Extended {
                    offset,
                    reason: "there are two for one file".to_owned(),
                });
            }
            continue;
        }
        let name = member_name(&header)?;
        refuse_kind(kind, &name)?;
        if let Some(Some(told)) = extended.take() {
            size = extended::agreed_size(size, told, offset)?;
        }
        let end = end_of(archive, offset, size, &format!("the member `{name}`"))?;
        if !names.insert(name.clone()) {
            return Err(ArchiveError::Duplicate { name });
        }
        members.push(Member {
            name,
            window: Window {
                offset: offset + BLOCK,
                len: size,
            },
        });
        offset = end;
    }
}

fn read_header(archive: &impl ReadAt, offset: u64) -> Result<[u8; 512], ArchiveError> {
    let header = archive
        .bytes_at::<512>(offset)
        .map_err(|source| ArchiveError::Io { offset, source })?;
    header.ok_or_else(|| ArchiveError::Truncated {
        what: "its end marker".to_owned(),
        needed: offset.saturating_add(BLOCK),
        actual: archive.len(),
    })
}

/// Where the next header stands, which the archive must reach: data and padding are all there.
fn end_of(archive: &impl ReadAt, header: u64, size: u64, what: &str) -> Result<u64, ArchiveError> {
    let padded = size.checked_next_multiple_of(BLOCK);
    let end = padded
        .and_then(|size| size.checked_add(BLOCK))
        .and_then(|size| size.checked_add(header));
    match end {
        Some(end) if end <= archive.len() => Ok(end),
        _ => Err(ArchiveError::Truncated {
            what: what.to_owned(),
            needed: end.unwrap_or(u64::MAX),
            actual: archive.len(),
        }),
    }
}

fn verify_checksum(header: &[u8; 512], offset: u64) -> Result<(), ArchiveError> {
    let told = number(&header[148..156], offset)?;
    let blanks = 8 * u64::from(b' ');
    let rest = header[..148].iter().chain(&header[156..]);
    let sum = rest.fold(blanks, |sum, byte| sum + u64::from(*byte));
    if sum == told {
        Ok(())
    } else {
        Err(ArchiveError::Damaged {
            offset,
            what: "its checksum is wrong",
        })
    }
}

/// An octal number with blanks around it, or GNU's binary form for what does not fit.
fn number(field: &[u8], offset: u64) -> Result<u64, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged { offset, what };
    if field[0] == 0x80 {
        let shifted = |value: u64, byte: &u8| Some(value.checked_mul(256)? | u64::from(*byte));
        let value = field[1..].iter().try_fold(0, shifted);
        return value.ok_or_else(|| damaged("a number is too large"));
    }
    let text = field
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if text.is_empty() || !text.iter().all(|byte| (b'0'..=b'7').contains(byte)) {
        return Err(damaged("a number is none"));
    }
    // At most twelve octal digits: 36 bits.
    Ok(text
        .iter()
        .fold(0, |value, digit| value * 8 + u64::from(digit - b'0')))
}

/// The size that a header states, where it is a number.
#[cfg(feature = "fuzzing")]
pub(super) fn stated_size(header: &[u8]) -> Option<u64> {
    number(header.get(124..136)?, 0).ok()
}

fn member_name(header: &[u8; 512]) -> Result<String, ArchiveError> {
    let until_zero = |field: &[u8]| {
        field
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let bytes = until_zero(&header[..100]);
    let refused = |name: &str, reason| {
        Err(ArchiveError::Name {
            name: printable(name),
            reason,
        })
    };
    let Ok(name) = String::from_utf8(bytes) else {
        return refused(&String::from_utf8_lossy(&header[..100]), "it is not valid UTF-8");
    };
    let is_posix = &header[257..263] == b"ustar\0";
    if is_posix && header[345] != 0 {
        return refused(&name, "it is in a folder");
    }
    match plain(&name) {
        Ok(()) => Ok(name),
        Err(reason) => refused(&name, reason),
    }
}

fn refuse_kind(kind: u8, name: &str) -> Result<(), ArchiveError> {
    let kind = match kind {
        b'0' | 0 => return Ok(()),
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a folder",
        b'6' => "a pipe",
        b'S' => "a sparse file",
        b'L' | b'K' => "a long name for the next member",
        _ => "of an unknown kind",
    };
    Err(ArchiveError::Kind {
        name: name.to_owned(),
        kind,
    })
}
