//! Tar archives written byte by byte, so that every lie can be told.

/// One member.
pub(in crate::source) struct Entry<'a> {
    pub(in crate::source) name: &'a str,
    pub(in crate::source) kind: u8,
    pub(in crate::source) body: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(in crate::source) fn new(name: &'a str, body: &'a [u8]) -> Self {
        Entry {
            name,
            kind: b'0',
            body,
        }
    }

    /// Header, data and padding.
    pub(in crate::source) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..self.name.len()].copy_from_slice(self.name.as_bytes());
        bytes[100..108].copy_from_slice(b"0000644\0");
        bytes[108..116].copy_from_slice(b"0000000\0");
        bytes[116..124].copy_from_slice(b"0000000\0");
        bytes[124..136].copy_from_slice(format!("{:011o}\0", self.body.len()).as_bytes());
        bytes[136..148].copy_from_slice(b"00000000000\0");
        bytes[156] = self.kind;
        bytes[257..265].copy_from_slice(b"ustar\x0000");
        reseal(&mut bytes);
        bytes.extend_from_slice(self.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A plain file.
pub(in crate::source) fn entry(name: &str, body: &[u8]) -> Vec<u8> {
    Entry::new(name, body).bytes()
}

/// Computes the checksum of the first header anew.
pub(in crate::source) fn reseal(bytes: &mut [u8]) {
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Adds the end marker.
pub(in crate::source) fn end(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
