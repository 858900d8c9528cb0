//! The descriptor of a VMDK image, read by us before qemu is let near it: which files does it lead to?
//!
//! The reader is stricter than qemu's, which scans lines with `sscanf` and can read one extent from several lines:
//! every line must be one whole thing that we know the shape of, or the image is refused.

use super::SourceError;
use super::file::{ReadAt, SourceFile, Stamp};
use super::name::printable;

const SPARSE_MAGIC: &[u8; 4] = b"KDMV";
const SECTOR: u64 = 512;
/// More than any descriptor needs: a 62 TB disk in 2 GB extents has 32,000 lines of 60 bytes.
const LONGEST_DESCRIPTOR: u64 = 2 << 20;
const MOST_EXTENTS: usize = 40_000;

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The files beside the descriptor; empty where all is in one file.
    pub(super) extents: Vec<Stamp>,
    /// The same, as paths.
    pub(super) paths: Vec<std::path::PathBuf>,
    /// The sum of the extents in bytes, where a descriptor gives it.
    pub(super) size: Option<u64>,
}

/// Reads the layout, opening every extent on the way.
///
/// # Errors
/// `Reference` for an extent that leads away, `Unsupported` for deltas and kinds of extents that we do not read,
/// `Corrupt` for what is too short or makes no sense, `Io`.
pub(super) fn layout(file: &SourceFile) -> Result<Layout, SourceError> {
    if file.bytes_at::<4>(0).map_err(file.reading())?.as_ref() == Some(SPARSE_MAGIC) {
        sparse(file)?;
        return Ok(Layout {
            extents: Vec::new(),
            paths: Vec::new(),
            size: None,
        });
    }
    if file.window.is_some() {
        let what = "is a VMDK descriptor with extents of its own, which an archive cannot hold";
        return Err(SourceError::unsupported(&file.label, what));
    }
    described(file)
}

/// Checks the header of a file with its own grain tables.
fn sparse(file: &SourceFile) -> Result<(), SourceError> {
    let header = file.bytes_at::<SECTOR_USIZE>(0).map_err(file.reading())?;
    let header = header.ok_or_else(|| SourceError::corrupt(&file.label, "the header is incomplete"))?;
    let (capacity, at, sectors) = (le64(&header, 12), le64(&header, 28), le64(&header, 36));
    // qemu would take the embedded text for a descriptor with extents of its own.
    if capacity == 0 {
        return Err(SourceError::corrupt(
            &file.label,
            "its header says that it holds nothing",
        ));
    }
    if at == 0 {
        return Ok(());
    }
    let (at, len) = (
        at.checked_mul(SECTOR),
        sectors
            .checked_mul(SECTOR)
            .map(|len| len.clamp(20 * SECTOR, LONGEST_DESCRIPTOR)),
    );
    let (Some(at), Some(len)) = (at, len) else {
        return Err(SourceError::corrupt(
            &file.label,
            "its descriptor lies outside of it",
        ));
    };
    let len = len.min(file.len().saturating_sub(at));
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut text, at).map_err(file.reading())?;
    refuse_parent(&String::from_utf8_lossy(&text), file)
}

const SECTOR_USIZE: usize = 512;

/// Reads a descriptor file and looks at every extent that it names.
fn described(file: &SourceFile) -> Result<Layout, SourceError> {
    let bytes = file.read_small(LONGEST_DESCRIPTOR)?;
    let text = String::from_utf8(bytes).map_err(|_| refused(file, "its descriptor is not valid UTF-8"))?;
    // The text ends at the first zero byte, as it does for qemu.
    let text = text.split('\0').next().unwrap_or_default();
    refuse_parent(text, file)?;
    let mut layout = Layout {
        extents: Vec::new(),
        paths: Vec::new(),
        size: None,
    };
    let mut total = 0_u64;
    for line in text.split('\n') {
        let Some(extent) = extent_of(line.trim(), file)? else {
            continue;
        };
        if layout.extents.len() == MOST_EXTENTS {
            return Err(refused(file, "its descriptor names too many extents"));
        }
        let size = extent
            .sectors
            .checked_mul(SECTOR)
            .and_then(|size| Some((size, total.checked_add(size)?)));
        let (size, sum) = size.ok_or_else(|| refused(file, "the sizes of its extents overflow"))?;
        total = sum;
        let opened = open_extent(file, &extent, size)?;
        layout.extents.push(opened.stamp());
        layout.paths.push(opened.path);
    }
    if layout.extents.is_empty() {
        return Err(refused(file, "its descriptor names no extent"));
    }
    layout.size = Some(total);
    Ok(layout)
}

fn open_extent(file: &SourceFile, extent: &Extent<'_>, size: u64) -> Result<SourceFile, SourceError> {
    let opened = SourceFile::open_beside(file.dir(), extent.name, &file.label)?;
    match extent.kind {
        Kind::Flat { offset } => {
            let end = offset
                .checked_mul(SECTOR)
                .and_then(|offset| offset.checked_add(size));
            if end.is_none_or(|end| end > opened.len()) {
                let reason = format!("its extent {} is shorter than the descriptor says", extent.name);
                return Err(SourceError::corrupt(&file.label, reason));
            }
        }
        Kind::Sparse => {
            if opened.bytes_at::<4>(0).map_err(opened.reading())?.as_ref() != Some(SPARSE_MAGIC) {
                let reason = format!("its extent {} is no sparse extent", extent.name);
                return Err(SourceError::corrupt(&file.label, reason));
            }
            sparse(&opened)?;
        }
    }
    Ok(opened)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flat { offset: u64 },
    Sparse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent<'a> {
    sectors: u64,
    kind: Kind,
    name: &'a str,
}

/// The extent on this line; `None` for a comment, an empty line or a setting.
fn extent_of<'a>(line: &'a str, file: &SourceFile) -> Result<Option<Extent<'a>>, SourceError> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(refused(file, "its descriptor holds control characters"));
    }
    if line.is_empty() || line.starts_with('#') || is_setting(line) {
        return Ok(None);
    }
    let odd = || {
        refused(
            file,
            format!(
                "its descriptor has a line that makes no sense: `{}`",
                printable(line)
            ),
        )
    };
    let (head, rest) = line.split_once('"').ok_or_else(odd)?;
    let (name, tail) = rest.split_once('"').ok_or_else(odd)?;
    let [access, sectors, kind] = head.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(odd());
    };
    if access != "RW" {
        let what = format!(
            "has an extent with access {}, of which qemu reads nothing",
            printable(access)
        );
        return Err(SourceError::unsupported(&file.label, what));
    }
    let sectors = sectors.parse().map_err(|_| odd())?;
    let kind = match (kind, tail.trim()) {
        ("FLAT" | "VMFS", "") => Kind::Flat { offset: 0 },
        ("FLAT" | "VMFS", offset) => Kind::Flat {
            offset: offset.parse().map_err(|_| odd())?,
        },
        ("SPARSE", "") => Kind::Sparse,
        (other, _) => {
            let what = format!(
                "has an extent of the kind {}, which is not read here",
                printable(other)
            );
            return Err(SourceError::unsupported(&file.label, what));
        }
    };
    Ok(Some(Extent { sectors, kind, name }))
}

/// `key = value` with a plain word as key.
fn is_setting(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        let key = key.trim();
        !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

/// Refuses deltas: alone they hold changes only.
fn refuse_parent(text: &str, file: &SourceFile) -> Result<(), SourceError> {
    let text = text.to_ascii_lowercase();
    let delta = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| {
            key.trim() == "parentcid" && value.trim().trim_end_matches('\0').trim_matches('"') != "ffffffff"
        });
    if delta || text.contains("parentfilenamehint") {
        let what =
            "is a delta of another VMDK: consolidate the snapshots, or flatten it with `qemu-img convert`";
        return Err(SourceError::unsupported(&file.label, what));
    }
    Ok(())
}

fn refused(file: &SourceFile, reason: impl Into<String>) -> SourceError {
    SourceError::corrupt(&file.label, reason)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("eight bytes of a fixed header"),
    )
}
