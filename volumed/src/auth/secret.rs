//! The secret of a token: 256 random bits behind an id by which its record is found. Never shown but once, to who asked for it.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

/// What every secret begins with, so that people and scanners of source code know one when they see it.
const MARK: &str = "volumed";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A secret as it is brought along: `volumed_ID_SECRET`, both parts hexadecimal.
pub struct Secret(String);

impl Secret {
    /// A new secret for the token with this id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(format!("{MARK}_{id}_{}", random(SECRET_BYTES)))
    }

    /// The text, for who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is recorded of it. A slow hash protects secrets that can be guessed; 256 random bits cannot, so SHA-256 once is
    /// enough, and costs no request anything.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A new id.
pub(super) fn new_id() -> String {
    random(ID_BYTES)
}

/// The id in a text that may be a secret.
pub(super) fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(MARK)?.strip_prefix('_')?.split_once('_')?;
    let is_hex = |part: &str, bytes: usize| {
        part.len() == 2 * bytes && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some(id)
}

/// Whether a text hashes to this, in a time that tells nothing.
pub(super) fn is_of(text: &str, recorded: &[u8]) -> bool {
    hash(text).ct_eq(recorded).into()
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    ring::default_provider()
        .secure_random
        .fill(&mut buffer)
        .expect("the kernel has random bytes for everybody");
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_leads_to_its_id_and_is_shown_nowhere() {
        let id = new_id();
        let (secret, other) = (Secret::new(&id), Secret::new(&id));
        assert_eq!(id_of(secret.reveal()), Some(id.as_str()));
        assert_ne!(secret.reveal(), other.reveal());
        assert!(is_of(secret.reveal(), &secret.hash()) && !is_of(other.reveal(), &secret.hash()));
        assert!(!is_of(secret.reveal(), &secret.hash()[..31]));
        assert_eq!(format!("{secret:?}"), "(secret)");
        for bad in [
            "",
            "volumed_",
            "volumed_ab_cd",
            "other_0123456789ab_00",
            secret.reveal().trim_start_matches("volumed"),
        ] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
