//! The footer of a VHD image, read by us before qemu is let near it: is it whole, and does it stand alone?

use super::SourceError;
use super::file::{ReadAt, SourceFile};

const COOKIE: &[u8] = b"conectix";
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;

/// Checks the footer, which ends every whole VHD, and its copy at the start of a dynamic one.
///
/// # Errors
/// `Corrupt` where the footer is missing (a truncated file), `Unsupported` for a differencing disk, `Io`.
pub(super) fn check(file: &SourceFile) -> Result<(), SourceError> {
    let footer_at = file.len().saturating_sub(512);
    let footer = file.bytes_at::<512>(footer_at).map_err(file.reading())?;
    let Some(footer) = footer.filter(|bytes| bytes.starts_with(COOKIE)) else {
        return Err(SourceError::corrupt(
            &file.label,
            "its footer is missing: the file is truncated",
        ));
    };
    let kind = disk_type(&footer);
    let copy = file
        .bytes_at::<512>(0)
        .map_err(file.reading())?
        .filter(|bytes| bytes.starts_with(COOKIE));
    match (kind, copy.map(|copy| disk_type(&copy))) {
        (DIFFERENCING, _) | (_, Some(DIFFERENCING)) => Err(SourceError::unsupported(
            &file.label,
            "is a differencing disk: merge it with its parent first",
        )),
        (FIXED, None) | (DYNAMIC, Some(DYNAMIC)) => Ok(()),
        _ => Err(SourceError::corrupt(
            &file.label,
            "its footer and its header contradict each other",
        )),
    }
}

fn disk_type(footer: &[u8; 512]) -> u32 {
    u32::from_be_bytes([footer[60], footer[61], footer[62], footer[63]])
}
