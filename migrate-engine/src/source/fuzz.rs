//! What a fuzzer does with the readers of packages and images, and what must hold of whatever they take.

use super::archive::members;
use super::file::SourceFile;
use super::image::{self, Expect};
use super::manifest::Manifest;
use super::name::plain;
use super::options::Backing;
use super::{archive, ovf};

/// OVF documents. What is told of a machine is in the text: it is not more than the text.
pub(crate) fn ovf(bytes: &[u8]) {
    let Ok(document) = ovf::parse(bytes) else { return };
    assert!(
        document.files.len() + document.disks.len() + document.networks.len() <= bytes.len(),
        "more than the text has"
    );
    let names = document.files.iter().map(|file| file.href.len()).sum::<usize>();
    assert!(names <= bytes.len(), "longer names than the text has");
    if let Some(name) = &document.name {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    assert!(
        ovf::parse(bytes).is_ok_and(|again| again == document),
        "another time it says something else"
    );
}

/// Tar archives. Another reader sees the same members in the same places.
pub(crate) fn archive(bytes: &[u8]) {
    let Ok(found) = members(&bytes, 64) else { return };
    for member in &found {
        let end = member.window.offset.checked_add(member.window.len);
        assert!(end.is_some_and(|end| end <= bytes.len() as u64), "{member:?}");
        assert_eq!(plain(&member.name), Ok(()), "{member:?}");
    }
    let mut other = tar::Archive::new(bytes);
    let Ok(entries) = other.entries() else { return };
    for (ours, theirs) in found.iter().zip(entries) {
        // It may refuse more than we do: of what both take, both must say the same.
        let Ok(theirs) = theirs else { return };
        assert_eq!(theirs.path_bytes(), ours.name.as_bytes());
        assert_eq!(
            (theirs.raw_file_position(), theirs.size()),
            (ours.window.offset, ours.window.len),
            "{}",
            ours.name
        );
    }
}

/// Manifests. Only files of the package's own folder are in them.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(manifest) = Manifest::parse(text) {
        for file in manifest.files() {
            assert_eq!(plain(file), Ok(()), "{file:?}");
        }
    }
}

/// Images of any format, as far as we read them ourselves: they lead to no file but those of their own folder.
pub(crate) fn image(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for an image");
    let file = folder.path().join("image");
    std::fs::write(&file, bytes).expect("an image can be written");
    let opened = SourceFile::open(&file).expect("a file that was written just now");
    image::walk(&opened, &Expect::Look, Backing::Refuse, |path| {
        assert_eq!(path.parent(), opened.path.parent(), "{}", path.display());
    });
}

/// Headers of archives that are whole: their checksum is put right, so that what comes after it is reached.
pub(crate) fn archive_with_checksums(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    whole.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    let mut at = 0;
    // Where members are taken to be: each header tells how far away the next one is.
    while let Some(header) = whole.get_mut(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = archive::stated_size(header).unwrap_or(0);
        let step = usize::try_from(size.next_multiple_of(512)).unwrap_or(usize::MAX);
        at = at.saturating_add(512).saturating_add(step);
        if at > whole.len() {
            break;
        }
    }
    archive(&whole);
}
