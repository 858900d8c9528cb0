//! OVA archives and OVF documents with files beside: everything is verified before the first disk is opened.

mod place;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, Member};
use super::blocking::{self, Cancel};
use super::file::{ReadAt, SourceFile};
use super::format::Format;
use super::image::{self, Expect};
use super::machine::{Content, DiskKind, SourceDisk, SourceMachine, Unpacked};
use super::manifest::{Manifest, ManifestError};
use super::name::printable;
use super::options::ManifestCheck;
use super::ovf::{self, Compression, Disk, Document, FileReference};
use super::{Depth, Options, SourceError};
use place::Place;

/// A package whose files are there, have their sizes and their digests, and are unpacked.
struct Contents {
    document: Document,
    /// For each disk of the document: its image, unless it is empty.
    images: Vec<Option<Packed>>,
    notes: Vec<String>,
}

struct Packed {
    file: SourceFile,
    packing: Packing,
}

enum Packing {
    /// It never was packed.
    Plain,
    /// It was, and is unpacked.
    Undone(Unpacked),
    /// It is packed, and that is left so.
    Left,
}

/// Opens an OVA archive.
pub(super) async fn open_archive(
    file: SourceFile,
    options: &Options,
    depth: Depth,
) -> Result<SourceMachine, SourceError> {
    let path = file.path.clone();
    let limits = options.clone();
    let contents = blocking::run(move |cancel| {
        let members =
            archive::members(&file, limits.limits.members).map_err(|source| SourceError::Archive {
                path: file.path.clone(),
                source,
            })?;
        let (document, mut notes) = the_document(&members, &file.path)?;
        let place = Place::Archive { file, members };
        let mut contents = unpack(&place, &document, (&limits, depth), cancel)?;
        notes.append(&mut contents.notes);
        Ok(Contents { notes, ..contents })
    });
    machine(contents.await?, path, options).await
}

/// Opens an OVF document; its files lie beside it.
pub(super) async fn open_folder(
    path: &Path,
    options: &Options,
    depth: Depth,
) -> Result<SourceMachine, SourceError> {
    let given = path.to_owned();
    let limits = options.clone();
    let (path, contents) = blocking::run(move |cancel| {
        let path = std::fs::canonicalize(&given).map_err(SourceError::io("opening", &given))?;
        let no_name = || SourceError::PathEncoding { path: given.clone() };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(no_name)?
            .to_owned();
        let place = Place::Folder {
            dir: path.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let contents = unpack(&place, &name, (&limits, depth), cancel)?;
        Ok((path, contents))
    })
    .await?;
    machine(contents, path, options).await
}

/// The one OVF document of an archive. It should come first, and a note says so where it does not.
fn the_document(members: &[Member], path: &Path) -> Result<(String, Vec<String>), SourceError> {
    let is_document = |member: &&Member| has_extension(&member.name, "ovf");
    let documents: Vec<&Member> = members.iter().filter(is_document).collect();
    let label = path.display().to_string();
    match documents[..] {
        [] => Err(SourceError::unsupported(
            label,
            "holds no OVF document: it is no OVA archive",
        )),
        [document] => {
            let is_first = members.first() == Some(document);
            let late = format!(
                "{} does not begin with its OVF document, as the standard asks",
                path.display()
            );
            Ok((
                document.name.clone(),
                if is_first { Vec::new() } else { vec![late] },
            ))
        }
        _ => Err(SourceError::unsupported(label, "holds several OVF documents")),
    }
}

/// Reads the document, checks sizes and digests of what it needs, and unpacks what is compressed.
fn unpack(
    place: &Place,
    name: &str,
    (options, depth): (&Options, Depth),
    cancel: &Cancel,
) -> Result<Contents, SourceError> {
    let file = place.open(name, name)?;
    let file = file.ok_or_else(|| place.missing(name, name))?;
    let text = file.read_small(options.limits.document)?;
    let label = file.label.clone();
    let document = ovf::parse(&text).map_err(|source| SourceError::Ovf {
        document: label.clone(),
        source,
    })?;
    let mut notes = document.notes.clone();
    let mut found = Vec::new();
    for disk in &document.disks {
        let image = disk
            .file
            .as_ref()
            .map(|reference| open_declared(place, reference, &label))
            .transpose()?;
        found.push(image);
    }
    let used = std::iter::once((name, &file))
        .chain(found.iter().flatten().map(|(name, file)| (name.as_str(), file)));
    if depth == Depth::Whole {
        verify(place, name, used, options, cancel, &mut notes)?;
    }
    notes.extend(unused_files(&document));
    let images = document.disks.iter().zip(found).map(|(disk, found)| {
        found
            .map(|(_, file)| unpack_image(disk, file, (options, depth), cancel))
            .transpose()
    });
    let images = images.collect::<Result<Vec<_>, _>>()?;
    Ok(Contents {
        images,
        document,
        notes,
    })
}

/// Opens a referenced file and holds its size against the declared one.
fn open_declared(
    place: &Place,
    reference: &FileReference,
    document: &str,
) -> Result<(String, SourceFile), SourceError> {
    let (name, file) = place.open_reference(&reference.href, document)?;
    match reference.size {
        Some(declared) if declared != file.len() => Err(SourceError::FileSize {
            actual: file.len(),
            file: file.label,
            declared,
        }),
        _ => Ok((name, file)),
    }
}

fn unpack_image(
    disk: &Disk,
    file: SourceFile,
    (options, depth): (&Options, Depth),
    cancel: &Cancel,
) -> Result<Packed, SourceError> {
    let is_packed = disk
        .file
        .as_ref()
        .is_some_and(|file| file.compression == Compression::Gzip);
    if !is_packed {
        let packing = Packing::Plain;
        return Ok(Packed { file, packing });
    }
    if depth == Depth::Look {
        let packing = Packing::Left;
        return Ok(Packed { file, packing });
    }
    let unpacked = super::unpack::gunzip(&file, disk.capacity, options, cancel)?;
    let mut opened = SourceFile::open(&unpacked)?;
    let unpacked = Unpacked {
        _path: unpacked,
        from: file.stamp(),
        window: file.window,
    };
    opened.label = file.label;
    Ok(Packed {
        file: opened,
        packing: Packing::Undone(unpacked),
    })
}

/// Holds the used files against the manifest, where there is one.
fn verify<'a>(
    place: &Place,
    document: &str,
    used: impl Iterator<Item = (&'a str, &'a SourceFile)>,
    options: &Options,
    cancel: &Cancel,
    notes: &mut Vec<String>,
) -> Result<(), SourceError> {
    let stem = document.rsplit_once('.').map_or(document, |(stem, _)| stem);
    let name = format!("{stem}.mf");
    let Some(file) = place.open(&name, document)? else {
        notes.push(format!("{document} has no manifest: its files are not verified"));
        return Ok(());
    };
    if place.open(&format!("{stem}.cert"), document)?.is_some() {
        notes.push(format!("{document} is signed: the signature is not verified"));
    }
    if options.manifest == ManifestCheck::Skip {
        notes.push(format!("{name} is not verified, as asked for"));
        return Ok(());
    }
    let wrong = |source| SourceError::Manifest {
        manifest: file.label.clone(),
        source,
    };
    let text = file.read_small(options.limits.manifest)?;
    let text = std::str::from_utf8(&text).map_err(|_| wrong(ManifestError::Syntax { line: 1 }))?;
    let manifest = Manifest::parse(text).map_err(wrong)?;
    for listed in manifest.files() {
        if place.open(listed, &name)?.is_none() {
            return Err(wrong(ManifestError::Missing {
                file: listed.to_owned(),
            }));
        }
    }
    let mut done = BTreeSet::new();
    for (name, used) in used {
        if done.insert(name) {
            manifest.verify(name, used, &file.label, cancel)?;
        }
    }
    Ok(())
}

/// A note for each file that belongs to no disk, such as the image of a CD.
fn unused_files(document: &Document) -> Vec<String> {
    let is_used = |file: &FileReference| {
        document
            .disks
            .iter()
            .any(|disk| disk.file.as_ref().is_some_and(|used| used.id == file.id))
    };
    let unused = document.files.iter().filter(|file| !is_used(file));
    unused
        .map(|file| {
            format!(
                "the file {} belongs to no disk and is left out",
                printable(&file.href)
            )
        })
        .collect()
}

/// Inspects the images and puts the machine together.
async fn machine(contents: Contents, path: PathBuf, options: &Options) -> Result<SourceMachine, SourceError> {
    let Contents {
        document,
        images,
        mut notes,
    } = contents;
    let mut disks = Vec::new();
    for (disk, image) in document.disks.into_iter().zip(images) {
        disks.push(match image {
            None => {
                let label = disk.label.unwrap_or_else(|| disk.id.clone());
                SourceDisk::blank(disk.id, label, disk.capacity)
            }
            Some(image) => source_disk(disk, image, &path, options, &mut notes).await?,
        });
    }
    if disks.is_empty() {
        return Err(SourceError::unsupported(
            path.display().to_string(),
            "describes a machine without disks",
        ));
    }
    Ok(SourceMachine {
        name: document.name.unwrap_or_else(|| super::stem(&path)),
        cpus: document.cpus,
        memory_mb: document.memory_mb,
        firmware: document.firmware,
        disks,
        networks: document.networks,
        notes,
    })
}

async fn source_disk(
    disk: Disk,
    packed: Packed,
    path: &Path,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<SourceDisk, SourceError> {
    let Packed { file, packing } = packed;
    let label = file.label.clone();
    // What is unpacked lies in the archive for people; an image beside a document is its own file.
    let holder = match packing {
        Packing::Plain if file.window.is_none() => file.path.clone(),
        _ => path.to_owned(),
    };
    let expected = expected(disk.format.as_deref());
    if matches!(packing, Packing::Left) {
        return Ok(not_unpacked(disk, &file, &expected, holder));
    }
    let mut image = image::inspect(file, expected, options).await?;
    if disk.capacity.next_multiple_of(512) != image.capacity {
        return Err(SourceError::Capacity {
            disk: printable(&disk.id),
            file: label,
            declared: disk.capacity,
            actual: image.capacity,
        });
    }
    notes.append(&mut image.notes);
    let shown = disk.label.unwrap_or_else(|| disk.id.clone());
    let mut source = SourceDisk::of_image(disk.id, shown, holder, image);
    if let Content::Node { unpacked: kept, .. } = &mut source.content {
        *kept = match packing {
            Packing::Undone(unpacked) => Some(Arc::new(unpacked)),
            Packing::Plain | Packing::Left => None,
        };
    }
    Ok(source)
}

/// A disk as the document tells of it.
fn not_unpacked(disk: Disk, file: &SourceFile, expected: &Expect, holder: PathBuf) -> SourceDisk {
    let format = match expected {
        Expect::Exactly(format) | Expect::Declared(format, _) => *format,
        Expect::Look => Format::Raw,
    };
    SourceDisk {
        label: disk.label.unwrap_or_else(|| disk.id.clone()),
        disk_id: disk.id,
        kind: DiskKind::Image(format),
        capacity_bytes: Some(disk.capacity.next_multiple_of(512)),
        path: Some(holder),
        content: Content::Packed(file.stamp()),
    }
}

/// The format that a document's URI stands for. URIs that we do not know promise nothing.
fn expected(uri: Option<&str>) -> Expect {
    let known = uri.map(str::to_ascii_lowercase);
    match (uri, known) {
        (Some(uri), Some(known)) if known.contains("vmdk") => Expect::Declared(Format::Vmdk, printable(uri)),
        (Some(uri), Some(known)) if known.contains("qcow") => Expect::Declared(Format::Qcow2, printable(uri)),
        (Some(uri), Some(known)) if known.contains("vhdx") => Expect::Declared(Format::Vhdx, printable(uri)),
        _ => Expect::Look,
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
