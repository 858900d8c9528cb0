//! What a volume's first block says about whose it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The whole first block is the marker, so that half of it cannot pass for it.
const BLOCK: usize = 4096;

fn block(owner: &str) -> Vec<u8> {
    let text = format!("this is {owner}; ");
    text.bytes().cycle().take(BLOCK).collect()
}

/// Writes that the device is `owner`'s, and brings it to the disk.
///
/// # Errors
/// What the device said.
pub fn write_marker(device: &File, owner: &str) -> io::Result<()> {
    write_marker_at(device, owner, 0)
}

/// The same, in the block with this number (of 4096 bytes).
///
/// # Errors
/// What the device said.
pub fn write_marker_at(device: &File, owner: &str, number: u64) -> io::Result<()> {
    device.write_all_at(&block(owner), number * BLOCK as u64)?;
    device.sync_all()
}

/// How many of the first `blocks` blocks are wholly a marker of `owner`, and how many a marker of anybody else.
///
/// # Errors
/// What the device said.
pub fn count_markers(device: &File, owner: &str, blocks: u64) -> io::Result<(u64, u64)> {
    let (mut own, mut others, mut found) = (0, 0, vec![0; BLOCK]);
    for number in 0..blocks {
        device.read_exact_at(&mut found, number * BLOCK as u64)?;
        match owner_of(&found) {
            Some(name) if name == owner => own += 1,
            Some(_) => others += 1,
            None => {}
        }
    }
    Ok((own, others))
}

/// Whose the device says it is; `None` where the block is not wholly one marker.
///
/// # Errors
/// What the device said.
pub fn read_marker(device: &File) -> io::Result<Option<String>> {
    let mut found = vec![0; BLOCK];
    device.read_exact_at(&mut found, 0)?;
    Ok(owner_of(&found))
}

fn owner_of(found: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(found);
    let owner = text
        .strip_prefix("this is ")
        .and_then(|rest| Some(rest.split_once(';')?.0.to_owned()));
    owner.filter(|owner| block(owner) == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written_and_half_a_marker_is_none() {
        let file = tempfile::tempfile().unwrap();
        write_marker(&file, "a").unwrap();
        assert_eq!(read_marker(&file).unwrap().as_deref(), Some("a"));
        file.write_all_at(&block("b")[..2048], 2048).unwrap();
        assert_eq!(read_marker(&file).unwrap(), None);
        write_marker_at(&file, "a", 3).unwrap();
        write_marker_at(&file, "c", 2).unwrap();
        write_marker_at(&file, "a", 1).unwrap();
        assert_eq!(count_markers(&file, "a", 4).unwrap(), (2, 1));
    }
}
