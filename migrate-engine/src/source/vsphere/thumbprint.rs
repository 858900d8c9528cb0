//! The SHA-1 of a certificate, by which VMware's own tools know a vCenter or a host.

use std::fmt;

use sha1::{Digest, Sha1};
use volume_client::client::trust::write_bytes;

/// The SHA-1 of a certificate, as VMware's tools want it: `AB:CD:…`. It decides nothing of ours: it is handed on, of a
/// certificate that was judged by other means before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 20]);

impl Thumbprint {
    /// The thumbprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha1::digest(certificate).into())
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_vmware_does() {
        let known = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D"; // FIPS 180-1, appendix A
        assert_eq!(Thumbprint::of(b"abc").to_string(), known);
    }
}
