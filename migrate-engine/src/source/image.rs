//! One disk image, looked at by us, then opened by qemu within limits, then checked: in this order, refused at once.

use std::path::Path;

use serde_json::Value;

use super::file::{FileKind, ReadAt, SourceFile, Stamp};
use super::format::{Format, Look, look};
use super::options::{Backing, ImageCheck};
use super::{Options, SourceError, blocking, name, qcow2, qemu, vhd, vmdk};

/// More than any sane chain of snapshots has.
const LONGEST_CHAIN: usize = 32;

/// What the bytes are to be taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// What they look like; raw where they look like nothing.
    Look,
    /// This, whatever they look like.
    Exactly(Format),
    /// A document's word, which the bytes must bear out. Holds the word as well.
    Declared(Format, String),
}

/// An image that may be served.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) format: Format,
    pub(super) capacity: u64,
    pub(super) node: Value,
    pub(super) stamps: Vec<Stamp>,
    pub(super) notes: Vec<String>,
}

/// An image as far as its own headers tell.
struct Parsed {
    format: Format,
    label: String,
    node: Value,
    /// The node without the images that it builds on: qemu-img looks at one image at a time.
    lone: Value,
    stamps: Vec<Stamp>,
    /// The extents beside a VMDK descriptor: qemu must see exactly these.
    layout: Option<vmdk::Layout>,
    /// The image it builds on.
    below: Option<Box<Parsed>>,
    notes: Vec<String>,
}

/// Inspects an image.
///
/// # Errors
/// Any [`SourceError`] about images; nothing is left behind.
pub(super) async fn inspect(
    file: SourceFile,
    expect: Expect,
    options: &Options,
) -> Result<Image, SourceError> {
    let backing = options.backing;
    let parsed = blocking::run(move |_| parse(&file, &expect, backing, 0)).await?;
    let capacity = open_in_qemu(&parsed, options).await?;
    let mut below = parsed.below.as_deref();
    while let Some(image) = below {
        open_in_qemu(image, options).await?;
        below = image.below.as_deref();
    }
    let Parsed {
        format,
        node,
        stamps,
        notes,
        ..
    } = parsed;
    Ok(Image {
        format,
        capacity,
        node,
        stamps,
        notes,
    })
}

/// Lets qemu look at one image; gives its size in bytes.
async fn open_in_qemu(parsed: &Parsed, options: &Options) -> Result<u64, SourceError> {
    let info = qemu::info(&parsed.lone, parsed.format, &parsed.label, options).await?;
    compare(&info, parsed)?;
    if options.check == ImageCheck::Check && parsed.format != Format::Raw {
        qemu::check(&parsed.lone, parsed.format, &parsed.label, options).await?;
    }
    Ok(info.virtual_size)
}

/// Reads the headers and refuses what leads to other files. `depth` counts the images built on this one.
fn parse(file: &SourceFile, expect: &Expect, backing: Backing, depth: usize) -> Result<Parsed, SourceError> {
    let (format, notes) = decide(file, expect)?;
    if file.kind == FileKind::BlockDevice && format != Format::Raw {
        let what = format!("is a block device that holds a {format} image: only raw block devices are read");
        return Err(SourceError::unsupported(&file.label, what));
    }
    let mut stamps = vec![file.stamp()];
    let (mut below, mut layout) = (None, None);
    match format {
        Format::Qcow2 => {
            if let Some(name) = qcow2::header(file)?.backing {
                let under = open_backing(file, &name, backing, depth)?;
                stamps.extend(under.stamps.iter().cloned());
                below = Some(Box::new(under));
            }
        }
        Format::Vmdk => {
            let found = vmdk::layout(file)?;
            stamps.extend(found.extents.iter().cloned());
            layout = (!found.extents.is_empty()).then_some(found);
        }
        Format::Vhd => vhd::check(file)?,
        Format::Raw | Format::Vhdx => {}
    }
    let lone = qemu::image_node(format, qemu::bytes_node(file), None);
    let under = below.as_deref().map(|below: &Parsed| below.node.clone());
    let node = qemu::image_node(format, qemu::bytes_node(file), under);
    Ok(Parsed {
        format,
        label: file.label.clone(),
        node,
        lone,
        stamps,
        layout,
        below,
        notes,
    })
}

/// Reads the headers, and names every file that is going to be opened.
#[cfg(feature = "fuzzing")]
pub(super) fn walk(
    file: &SourceFile,
    expect: &Expect,
    backing: Backing,
    mut seen: impl FnMut(&std::path::Path),
) {
    if let Ok(parsed) = parse(file, expect, backing, 0) {
        parsed.stamps.iter().for_each(|stamp| seen(stamp.path()));
    }
}

/// Which format it is.
fn decide(file: &SourceFile, expect: &Expect) -> Result<(Format, Vec<String>), SourceError> {
    let seen = look(file).map_err(file.reading())?;
    let mismatch = |declared: String| SourceError::FormatMismatch {
        image: file.label.clone(),
        declared,
        found: seen.to_string(),
    };
    match (expect, seen) {
        (Expect::Exactly(Format::Raw), _) => Ok((Format::Raw, Vec::new())),
        (Expect::Exactly(asked), Look::Image(found)) if *asked == found => Ok((found, Vec::new())),
        (Expect::Exactly(asked), _) => Err(mismatch(asked.to_string())),
        (Expect::Declared(declared, _), Look::Image(found)) if *declared == found => Ok((found, Vec::new())),
        (Expect::Declared(Format::Raw, _), Look::Unknown) => Ok((Format::Raw, Vec::new())),
        (Expect::Declared(_, word), _) => Err(mismatch(word.clone())),
        (Expect::Look, Look::Image(found)) => Ok((found, Vec::new())),
        (Expect::Look, Look::Unknown) if file.len() == 0 && file.kind == FileKind::Regular => {
            Err(SourceError::corrupt(&file.label, "it is empty"))
        }
        (Expect::Look, Look::Unknown) => {
            let note = format!("{} is of no known format: taken for a raw disk", file.label);
            Ok((Format::Raw, vec![note]))
        }
        (Expect::Look, found) => {
            let what =
                format!("is {found}, which is not read as a disk; were it a raw disk, say so (format raw)");
            Err(SourceError::unsupported(&file.label, what))
        }
    }
}

/// Opens the file that an image builds on, where that is allowed, in the image's own folder.
fn open_backing(
    file: &SourceFile,
    backing: &qcow2::BackingName,
    allowed: Backing,
    depth: usize,
) -> Result<Parsed, SourceError> {
    let shown = name::printable(&backing.name);
    if allowed == Backing::Refuse || file.window.is_some() {
        return Err(SourceError::BackingFile {
            image: file.label.clone(),
            backing: shown,
        });
    }
    if depth == LONGEST_CHAIN {
        let reason = format!("its backing chain is longer than {LONGEST_CHAIN} images, or a ring");
        return Err(SourceError::corrupt(&file.label, reason));
    }
    let expect = match backing.format.as_deref().map(str::parse) {
        None => Expect::Look,
        Some(Ok(format)) => Expect::Exactly(format),
        Some(Err(_)) => {
            let what = format!("has a backing file of a format that is not read here: `{shown}`");
            return Err(SourceError::unsupported(&file.label, what));
        }
    };
    let below = SourceFile::open_beside(file.dir(), &backing.name, &file.label)?;
    parse(&below, &expect, allowed, depth + 1)
}

/// Holds what qemu saw against what we read: where the two differ, an image meant to fool one of us.
fn compare(info: &qemu::Info, parsed: &Parsed) -> Result<(), SourceError> {
    let label = &parsed.label;
    let contradiction = |what: &str| {
        Err(SourceError::corrupt(
            label,
            format!("qemu sees {what} than its header tells"),
        ))
    };
    if info.format != parsed.format.driver() {
        return contradiction("another format");
    }
    if info.data_file().is_some() {
        return Err(SourceError::DataFile { image: label.clone() });
    }
    if info.backing.is_some() && parsed.below.is_none() {
        let backing = name::printable(info.backing.as_deref().unwrap_or_default());
        return Err(SourceError::BackingFile {
            image: label.clone(),
            backing,
        });
    }
    if let Some(layout) = &parsed.layout {
        let seen: Vec<&Path> = info.extents().into_iter().map(Path::new).collect();
        if seen != layout.paths {
            return contradiction("other extents");
        }
        if layout.size.is_some_and(|size| size != info.virtual_size) {
            return contradiction("another size");
        }
    }
    Ok(())
}
