//! An archive in cpio's `newc` format, which the kernel unpacks as its first root (its `buffer-format.rst`).

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that is written entry by entry; folders above an entry are made where they are missing.
pub(super) struct Archive<W: Write> {
    to: W,
    folders: BTreeSet<String>,
    entries: u32,
}

struct Entry<'a> {
    name: &'a str,
    mode: u32,
    device: (u32, u32),
    content: &'a [u8],
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            folders: BTreeSet::new(),
            entries: 0,
        }
    }

    /// A folder, and those above it. Repeated, it does nothing.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        self.folders_above(path)?;
        self.folders.insert(path.to_owned());
        self.entry(&Entry {
            name: path,
            mode: DIRECTORY,
            device: (0, 0),
            content: &[],
        })
    }

    /// A file of root's.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.place(path, FILE | permissions, (0, 0), content)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.place(path, LINK, (0, 0), target.as_bytes())
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &str, number: (u32, u32)) -> io::Result<()> {
        self.place(path, CHARACTER_DEVICE, number, &[])
    }

    /// Ends the archive and returns what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entry(&Entry {
            name: "TRAILER!!!",
            mode: 0,
            device: (0, 0),
            content: &[],
        })?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn place(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        self.folders_above(name)?;
        self.entry(&Entry {
            name,
            mode,
            device,
            content,
        })
    }

    fn folders_above(&mut self, path: &str) -> io::Result<()> {
        match Path::new(path).parent().and_then(Path::to_str) {
            Some(above) => self.folder(above),
            None => Ok(()),
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.entries += 1;
        let size = |length: usize| u32::try_from(length).map_err(io::Error::other);
        let (major, minor) = entry.device;
        // inode, mode, owner, group, links, time, size, device, device of the node, length of the name, no checksum
        let fields = [
            self.entries,
            entry.mode,
            0,
            0,
            1,
            0,
            size(entry.content.len())?,
            0,
            0,
            major,
            minor,
            size(entry.name.len())? + 1,
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header += &format!("{field:08X}");
        }
        header += entry.name;
        header.push('\0');
        self.padded(header.as_bytes())?;
        self.padded(entry.content)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        let missing = bytes.len().next_multiple_of(4) - bytes.len();
        self.to.write_all(&[0; 4][..missing])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_once_and_everything_is_aligned() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/one", 0o644, b"12345").unwrap();
        archive.link("/a/b/two", "one").unwrap();
        archive.device("/dev/console", (5, 1)).unwrap();
        archive.folder("/a").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let count = |name: &str| text.matches(&format!("{name}\0")).count();
        for name in ["00a", "00a/b", "00a/b/one", "00a/b/two", "00dev", "00dev/console"] {
            assert_eq!(count(name), 1, "{name} in {text}");
        }
        let headers = text.match_indices("070701").map(|(at, _)| at);
        assert!(headers.clone().all(|at| at % 4 == 0));
        assert_eq!(headers.count(), 7, "six entries and the end");
    }

    #[test]
    fn the_header_says_what_the_format_wants() {
        let mut archive = Archive::new(Vec::new());
        archive.file("f", 0o755, b"xyz").unwrap();
        let bytes = archive.finish().unwrap();
        let header = "07070100000001000081ED00000000000000000000000100000000\
                      0000000300000000000000000000000000000000000000020000\
                      0000f\0";
        assert_eq!(&bytes[..header.len()], header.as_bytes());
        assert_eq!(&bytes[header.len()..header.len() + 4], b"xyz\0");
    }
}
