//! The formats of disk images, and how their bytes tell them apart.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::file::ReadAt;

/// A format of disk images that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The bytes of the disk as they are.
    Raw,
    /// QEMU's format, versions 2 and 3.
    Qcow2,
    /// VMware's format: sparse, stream-optimised, or a descriptor with extents beside it.
    Vmdk,
    /// Virtual PC's and Hyper-V's older format (qemu calls it `vpc`).
    Vhd,
    /// Hyper-V's newer format.
    Vhdx,
}

impl Format {
    /// The name of qemu's driver for it.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhd => "vpc",
            Format::Vhdx => "vhdx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Vhd => "vhd",
            other => other.driver(),
        })
    }
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format of disk images that is read here (raw, qcow2, vmdk, vhd, vhdx)")]
pub struct FormatParseError(String);

impl FromStr for Format {
    type Err = FormatParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "raw" => Ok(Format::Raw),
            "qcow2" => Ok(Format::Qcow2),
            "vmdk" => Ok(Format::Vmdk),
            "vhd" | "vpc" => Ok(Format::Vhd),
            "vhdx" => Ok(Format::Vhdx),
            _ => Err(FormatParseError(text.to_owned())),
        }
    }
}

/// What the bytes of a file look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A disk image of this format.
    Image(Format),
    /// A tar archive.
    Tar,
    /// Something that is certainly no raw disk, and not read here.
    Foreign(&'static str),
    /// Nothing known: a raw disk, if a disk at all.
    Unknown,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Look::Image(format) => write!(f, "{format}"),
            Look::Tar => f.write_str("a tar archive"),
            Look::Foreign(what) => f.write_str(what),
            Look::Unknown => f.write_str("of no known format"),
        }
    }
}

const HEADS: [(&[u8], Look); 12] = [
    (b"QFI\xfb", Look::Image(Format::Qcow2)),
    (b"KDMV", Look::Image(Format::Vmdk)),
    (b"# Disk Descript", Look::Image(Format::Vmdk)),
    (b"conectix", Look::Image(Format::Vhd)),
    (b"vhdxfile", Look::Image(Format::Vhdx)),
    (
        b"COWD",
        Look::Foreign("a VMFS delta disk, which holds changes only"),
    ),
    (b"QED\0", Look::Foreign("a QED image")),
    (b"LUKS\xba\xbe", Look::Foreign("a LUKS container")),
    (b"\x1f\x8b", Look::Foreign("compressed with gzip")),
    (b"\xfd7zXZ\0", Look::Foreign("compressed with xz")),
    (b"\x28\xb5\x2f\xfd", Look::Foreign("compressed with zstd")),
    (b"PK\x03\x04", Look::Foreign("a zip archive")),
];

/// Looks at the first and the last bytes.
pub(super) fn look(file: &impl ReadAt) -> io::Result<Look> {
    let mut head = [0_u8; 512];
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX).min(head.len());
    file.read_exact_at(&mut head[..len], 0)?;
    let head = &head[..len];
    if let Some((_, look)) = HEADS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*look);
    }
    if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) {
        return Ok(Look::Foreign("a VirtualBox disk image (VDI)"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Look::Tar);
    }
    // A fixed VHD is a raw disk with a footer.
    let footer = file
        .len()
        .checked_sub(512)
        .map(|at| file.bytes_at::<8>(at))
        .transpose()?
        .flatten();
    Ok(if footer.as_ref() == Some(b"conectix") {
        Look::Image(Format::Vhd)
    } else {
        Look::Unknown
    })
}
