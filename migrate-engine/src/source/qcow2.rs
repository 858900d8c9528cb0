//! The header of a qcow2 image, read by us before qemu is let near it: does it lead to other files?
//!
//! Fields and numbers are those of QEMU's published description of the format.

use super::SourceError;
use super::file::{ReadAt, SourceFile};
use super::name::printable;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xE279_2ACA;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// The longest name of a backing file that the format allows.
const LONGEST_BACKING_NAME: u32 = 1023;

/// The file that an image builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BackingName {
    pub(super) name: String,
    pub(super) format: Option<String>,
}

/// What matters to us in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) backing: Option<BackingName>,
}

/// Reads the header.
///
/// # Errors
/// `DataFile`, `Unsupported` (version, encryption), `Corrupt` (also where the image says so itself), `Io`.
pub(super) fn header(file: &SourceFile) -> Result<Header, SourceError> {
    let corrupt = |reason: &str| SourceError::corrupt(&file.label, reason);
    let fixed: [u8; 72] = file
        .bytes_at(0)
        .map_err(file.reading())?
        .ok_or_else(|| corrupt("the header is incomplete"))?;
    let version = be32(&fixed, 4);
    if !(2..=3).contains(&version) {
        return Err(SourceError::unsupported(
            &file.label,
            format!("is a qcow image of version {version}; 2 and 3 are read"),
        ));
    }
    if be32(&fixed, 32) != 0 {
        return Err(SourceError::unsupported(
            &file.label,
            "is encrypted: decrypt it with `qemu-img convert` first",
        ));
    }
    let mut extensions_at = 72;
    if version == 3 {
        let features: [u8; 32] = file
            .bytes_at(72)
            .map_err(file.reading())?
            .ok_or_else(|| corrupt("the header is incomplete"))?;
        refuse_features(be64(&features, 0), file)?;
        extensions_at = u64::from(be32(&features, 28));
    }
    let backing_at = be64(&fixed, 8);
    let format = extensions(file, extensions_at, be32(&fixed, 20))?;
    if backing_at == 0 {
        return Ok(Header { backing: None });
    }
    let name = backing_name(file, backing_at, be32(&fixed, 16))?;
    Ok(Header {
        backing: Some(BackingName { name, format }),
    })
}

fn refuse_features(incompatible: u64, file: &SourceFile) -> Result<(), SourceError> {
    match incompatible {
        bits if bits & EXTERNAL_DATA != 0 => Err(SourceError::DataFile {
            image: file.label.clone(),
        }),
        bits if bits & CORRUPT != 0 => Err(SourceError::corrupt(
            &file.label,
            "it is marked as corrupt itself",
        )),
        bits if bits & DIRTY != 0 => Err(SourceError::corrupt(
            &file.label,
            "it was not closed properly; repair a copy of it with `qemu-img check -r all`",
        )),
        _ => Ok(()),
    }
}

fn backing_name(file: &SourceFile, at: u64, len: u32) -> Result<String, SourceError> {
    if len > LONGEST_BACKING_NAME {
        return Err(SourceError::corrupt(
            &file.label,
            "the name of its backing file is too long",
        ));
    }
    let mut name = vec![0; len as usize];
    file.read_exact_at(&mut name, at)
        .map_err(|_| SourceError::corrupt(&file.label, "the name of its backing file lies outside of it"))?;
    String::from_utf8(name)
        .map_err(|_| SourceError::corrupt(&file.label, "the name of its backing file is not valid UTF-8"))
}

/// Walks the header extensions, which end within the first cluster; gives the backing file's format.
fn extensions(file: &SourceFile, start: u64, cluster_bits: u32) -> Result<Option<String>, SourceError> {
    let corrupt = |reason: &str| SourceError::corrupt(&file.label, reason);
    if !(9..=21).contains(&cluster_bits) {
        return Err(corrupt("its cluster size is impossible"));
    }
    let end = 1_u64 << cluster_bits;
    let (mut at, mut format) = (start, None);
    while at + 8 <= end {
        let Some(head) = file.bytes_at::<8>(at).map_err(file.reading())? else {
            break;
        };
        let (kind, len) = (be32(&head, 0), be32(&head, 4));
        match kind {
            EXTENSION_END => break,
            EXTENSION_DATA_FILE => {
                return Err(SourceError::DataFile {
                    image: file.label.clone(),
                });
            }
            EXTENSION_BACKING_FORMAT if len <= 16 => {
                let mut name = vec![0; len as usize];
                file.read_exact_at(&mut name, at + 8)
                    .map_err(|_| corrupt("a header extension ends early"))?;
                format = Some(printable(&String::from_utf8_lossy(&name)));
            }
            _ => {}
        }
        at += 8 + u64::from(len).next_multiple_of(8);
    }
    Ok(format)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("four bytes of a fixed header"),
    )
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("eight bytes of a fixed header"),
    )
}
