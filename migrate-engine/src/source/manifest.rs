//! The manifest of a package: which digest each of its files has, and whether that is so.

use std::collections::BTreeMap;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::SourceError;
use super::blocking::Cancel;
use super::file::{ReadAt, SourceFile};
use super::name::{plain, printable};

/// Why a manifest is refused, or a package by its manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A line is no digest.
    #[error("line {line} is no `SHA256(file)= digest`")]
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// A digest of a kind that we do not compute.
    #[error("line {line} has a digest of the kind {algorithm}; SHA1, SHA256 and SHA512 are known")]
    Algorithm {
        /// The line, from 1.
        line: usize,
        /// The kind.
        algorithm: String,
    },
    /// Two lines for one file.
    #[error("it has two digests for `{file}`")]
    Duplicate {
        /// The file.
        file: String,
    },
    /// A file that is used is not listed.
    #[error("it has no digest for `{file}`")]
    Unlisted {
        /// The file.
        file: String,
    },
    /// A listed file is not there.
    #[error("it lists `{file}`, which is missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file has other bytes than the manifest says.
    #[error("the digest of `{file}` is another: the file was damaged or altered")]
    Mismatch {
        /// The file.
        file: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Hexadecimal digits of a digest.
    fn digits(self) -> usize {
        match self {
            Algorithm::Sha1 => 40,
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// Digests by file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest(BTreeMap<String, (Algorithm, String)>);

impl Manifest {
    /// Reads `ALGORITHM(file)= digest` lines.
    pub(super) fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut digests = BTreeMap::new();
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let (file, digest) = parse_line(line.trim(), index + 1)?;
            if digests.insert(file.to_owned(), digest).is_some() {
                return Err(ManifestError::Duplicate {
                    file: file.to_owned(),
                });
            }
        }
        Ok(Manifest(digests))
    }

    /// The names that are listed.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Reads the whole file and holds it against its digest.
    pub(super) fn verify(
        &self,
        name: &str,
        file: &SourceFile,
        manifest: &str,
        cancel: &Cancel,
    ) -> Result<(), SourceError> {
        let wrong = |source| {
            Err(SourceError::Manifest {
                manifest: manifest.to_owned(),
                source,
            })
        };
        let Some((algorithm, told)) = self.0.get(name) else {
            return wrong(ManifestError::Unlisted {
                file: name.to_owned(),
            });
        };
        let found = match algorithm {
            Algorithm::Sha1 => digest::<Sha1>(file, cancel)?,
            Algorithm::Sha256 => digest::<Sha256>(file, cancel)?,
            Algorithm::Sha512 => digest::<Sha512>(file, cancel)?,
        };
        if found == *told {
            Ok(())
        } else {
            wrong(ManifestError::Mismatch {
                file: name.to_owned(),
            })
        }
    }
}

fn parse_line(line: &str, number: usize) -> Result<(&str, (Algorithm, String)), ManifestError> {
    let syntax = || ManifestError::Syntax { line: number };
    let (algorithm, rest) = line.split_once('(').ok_or_else(syntax)?;
    let (file, digest) = rest.rsplit_once(')').ok_or_else(syntax)?;
    let digest = digest
        .trim_start()
        .strip_prefix('=')
        .ok_or_else(syntax)?
        .trim()
        .to_ascii_lowercase();
    let algorithm = match algorithm.trim().to_ascii_uppercase().replace('-', "").as_str() {
        "SHA1" => Algorithm::Sha1,
        "SHA256" => Algorithm::Sha256,
        "SHA512" => Algorithm::Sha512,
        other => {
            return Err(ManifestError::Algorithm {
                line: number,
                algorithm: printable(other),
            });
        }
    };
    let is_hex = digest.len() == algorithm.digits() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || plain(file).is_err() {
        return Err(syntax());
    }
    Ok((file, (algorithm, digest)))
}

fn digest<D: Digest>(file: &SourceFile, cancel: &Cancel) -> Result<String, SourceError> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < file.len() {
        cancel.check()?;
        let len = usize::try_from(file.len() - offset)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        file.read_exact_at(&mut buffer[..len], offset)
            .map_err(file.reading())?;
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
