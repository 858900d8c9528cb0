//! The descriptor of a disk on a datastore: the small text that names the file with the bytes. Pure.

const SECTOR: u64 = 512;

/// The one flat extent of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FlatExtent {
    /// A plain name, in the descriptor's folder.
    pub(super) file: String,
    /// In bytes.
    pub(super) size: u64,
}

/// The extent that holds the whole disk, or why there is no such one.
pub(super) fn flat_extent(text: &str) -> Result<FlatExtent, &'static str> {
    if !text.trim_start().starts_with("# Disk DescriptorFile") {
        return Err("it is no descriptor of a disk");
    }
    let mut extents = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == "parentCID"
            && !value.trim().eq_ignore_ascii_case("ffffffff")
        {
            return Err(
                "it is a link on top of another one: read the lowest link, or consolidate the snapshots",
            );
        }
        if line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ") {
            extents.push(line);
        }
    }
    match extents.as_slice() {
        [extent] => read(extent),
        [] => Err("its descriptor names no file"),
        _ => Err("it is split into several files"),
    }
}

/// `RW 20971520 VMFS "web-flat.vmdk"`, with an offset behind it at times.
fn read(line: &str) -> Result<FlatExtent, &'static str> {
    const UNREADABLE: &str = "its descriptor cannot be read";
    let (left, rest) = line.split_once('"').ok_or(UNREADABLE)?;
    let (file, offset) = rest.split_once('"').ok_or(UNREADABLE)?;
    let mut words = left.split_ascii_whitespace().skip(1);
    let sectors: u64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(UNREADABLE)?;
    if !matches!(words.next(), Some("VMFS" | "FLAT")) {
        return Err("it is not flat: only flat disks can be read as files");
    }
    if !matches!(offset.trim(), "" | "0") {
        return Err("it begins in the middle of a file");
    }
    if file.is_empty() || file.contains(['/', '\\']) || matches!(file, "." | "..") {
        return Err("its descriptor names a file in another folder");
    }
    Ok(FlatExtent {
        file: file.to_owned(),
        size: sectors.checked_mul(SECTOR).ok_or(UNREADABLE)?,
    })
}
