//! The files on the demo's disks: made the same way each time, and known again by their hashes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{command, output};

/// Path below the root of the file system to SHA-256.
pub(super) type Hashes = BTreeMap<String, String>;

/// Fills `dir` with files that differ from disk to disk, and returns their hashes.
pub(super) fn make(dir: &Path, disk: &str) -> Result<Hashes> {
    let files: [(&str, Vec<u8>); 4] = [
        ("etc/hostname", format!("{disk}\n").into_bytes()),
        (
            "etc/os-release",
            format!("NAME=\"volumed demo\"\nVARIANT=\"{disk}\"\n").into_bytes(),
        ),
        ("srv/data.bin", noise(disk, 5 << 20)),
        ("srv/with blank.txt", b"a name with a blank in it\n".repeat(1000)),
    ];
    for (name, content) in &files {
        let path = dir.join(name);
        let parent = path.parent().expect("every name above has a folder");
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    files
        .iter()
        .map(|(name, _)| Ok(((*name).to_owned(), sha256(&dir.join(name))?)))
        .collect()
}

/// Checks that every file is below `root` with the content it had.
pub(super) fn verify(root: &Path, expected: &Hashes) -> Result<()> {
    for (name, hash) in expected {
        let found = sha256(&root.join(name))?;
        if found != *hash {
            bail!("{name} differs from the original: {found} instead of {hash}");
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let said = output(command("sha256sum").arg("--").arg(path))?;
    // The tool puts a backslash before the hash where it had to escape the name.
    let hash = said
        .split_whitespace()
        .next()
        .map(|word| word.trim_start_matches('\\'));
    hash.map(str::to_owned)
        .with_context(|| format!("sha256sum gave no hash of {}", path.display()))
}

/// Bytes that do not compress, from a seed (xorshift64).
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let start = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut state = start | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
