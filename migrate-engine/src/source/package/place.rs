//! Where a package's files are: in an archive, or in a folder.

use std::path::PathBuf;

use crate::source::SourceError;
use crate::source::archive::Member;
use crate::source::file::SourceFile;
use crate::source::name::{plain, printable};

/// The files of one package.
pub(super) enum Place {
    /// Members of an archive.
    Archive {
        /// The archive.
        file: SourceFile,
        /// What is in it.
        members: Vec<Member>,
    },
    /// Files in one folder.
    Folder {
        /// The folder.
        dir: PathBuf,
    },
}

impl Place {
    /// The file of this name, where it is there.
    pub(super) fn open(&self, name: &str, referrer: &str) -> Result<Option<SourceFile>, SourceError> {
        match self {
            Place::Archive { file, members } => {
                let member = members.iter().find(|member| member.name == name);
                member.map(|member| file.member(member.window, name)).transpose()
            }
            Place::Folder { dir } => match SourceFile::open_beside(dir, name, referrer) {
                Ok(file) => Ok(Some(file)),
                Err(SourceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// The file that a document refers to: by its plain name, or that name in URI form (`%20`).
    pub(super) fn open_reference(
        &self,
        href: &str,
        document: &str,
    ) -> Result<(String, SourceFile), SourceError> {
        let decoded = percent_decoded(href);
        for name in std::iter::once(href.to_owned()).chain(decoded) {
            plain(&name).map_err(|reason| SourceError::Reference {
                image: document.to_owned(),
                reference: printable(href),
                reason: reason.to_owned(),
            })?;
            if let Some(file) = self.open(&name, document)? {
                return Ok((name, file));
            }
        }
        Err(self.missing(href, document))
    }

    pub(super) fn missing(&self, name: &str, document: &str) -> SourceError {
        let package = match self {
            Place::Archive { file, .. } => file.path.clone(),
            Place::Folder { dir } => dir.clone(),
        };
        SourceError::MissingFile {
            document: document.to_owned(),
            file: printable(name),
            package,
        }
    }
}

/// `text` with `%XX` resolved; `None` where there is nothing to resolve.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let hex = hex.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}
