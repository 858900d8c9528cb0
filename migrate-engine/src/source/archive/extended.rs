//! Extended headers of a tar archive: read, and refused where they change what the plain header says.

use super::{ArchiveError, BLOCK, end_of};
use crate::source::file::ReadAt;
use crate::source::name::printable;

/// An extended header holds times and owners; nothing of size belongs there.
const LONGEST_EXTENDED: u64 = 64 * 1024;
/// What the size field of a plain header holds: eleven octal digits.
const LARGEST_PLAIN_SIZE: u64 = (1 << 33) - 1;

/// The size an extended header may give: one that the plain header cannot hold, and did not try to.
pub(super) fn agreed_size(plain: u64, extended: u64, offset: u64) -> Result<u64, ArchiveError> {
    let fits_plain = extended <= LARGEST_PLAIN_SIZE;
    if extended == plain || (!fits_plain && plain == 0) {
        return Ok(extended);
    }
    let reason = format!("it gives the size {extended}, the header itself {plain}");
    Err(ArchiveError::Extended { offset, reason })
}

/// Reads an extended header; gives the size in it.
pub(super) fn read(archive: &impl ReadAt, offset: u64, size: u64) -> Result<Option<u64>, ArchiveError> {
    let refused = |reason: String| ArchiveError::Extended { offset, reason };
    if size > LONGEST_EXTENDED {
        return Err(refused(format!(
            "it has {size} bytes, more than {LONGEST_EXTENDED}"
        )));
    }
    end_of(archive, offset, size, "an extended header")?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    archive
        .read_exact_at(&mut bytes, offset + BLOCK)
        .map_err(|source| ArchiveError::Io { offset, source })?;
    let (mut rest, mut size) = (bytes.as_slice(), None);
    while !rest.is_empty() {
        let record = split_record(rest).ok_or_else(|| refused("a record makes no sense".to_owned()))?;
        rest = record.rest;
        let (key, value) = (record.key, record.value);
        if key == "size" {
            let told = std::str::from_utf8(value)
                .ok()
                .and_then(|value| value.parse::<u64>().ok());
            let told = told.ok_or_else(|| refused("its size is no number".to_owned()))?;
            if size.replace(told).is_some() {
                return Err(refused("it gives two sizes".to_owned()));
            }
        } else if !is_harmless(key) {
            return Err(refused(format!(
                "it sets `{}`, which could change what is read",
                printable(key)
            )));
        }
    }
    Ok(size)
}

/// The first of several records.
struct Record<'a> {
    key: &'a str,
    value: &'a [u8],
    rest: &'a [u8],
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn split_record(bytes: &[u8]) -> Option<Record<'_>> {
    let blank = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(&record[..equals]).ok()?;
    Some(Record {
        key,
        value: &record[equals + 1..],
        rest: &bytes[len..],
    })
}

/// Keys that say nothing about name, kind or bytes.
fn is_harmless(key: &str) -> bool {
    const HARMLESS: [&str; 8] = [
        "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment",
    ];
    HARMLESS.contains(&key)
        || key.starts_with("LIBARCHIVE.")
        || key.starts_with("SCHILY.xattr.")
        || key.starts_with("SCHILY.acl.")
        || ["SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.fflags"].contains(&key)
}
