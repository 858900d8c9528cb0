//! What a person writes to name a source: a path, or the URI of an NBD export.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::SourceError;

/// A source by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// An image, an OVA archive or an OVF document.
    Path(PathBuf),
    /// An NBD export, by its URI.
    Nbd(String),
}

impl Spec {
    /// Reads a name. Anything of the form `scheme://…` is a URI, and must be one of NBD; all else is a path.
    ///
    /// # Errors
    /// `Spec` with what to write instead.
    pub fn parse(text: &OsStr) -> Result<Self, SourceError> {
        let refused = |reason: &str| {
            Err(SourceError::Spec {
                spec: shown(&text.to_string_lossy()),
                reason: reason.to_owned(),
            })
        };
        if text.is_empty() {
            return refused("it is empty");
        }
        let Some(known) = text.to_str() else {
            return Ok(Spec::Path(PathBuf::from(text)));
        };
        if known.starts_with("json:") {
            return refused("descriptions for qemu are not accepted; for a file of that name write ./json:…");
        }
        let Some((scheme, rest)) = known.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Spec::Path(PathBuf::from(OsString::from(known))));
        };
        match scheme {
            "nbd" | "nbds" if !rest.starts_with(['/', '?']) && !rest.is_empty() => {
                Ok(Spec::Nbd(known.to_owned()))
            }
            "nbd" | "nbds" => refused("it names no host, as in nbd://host:10809/export"),
            "nbd+unix" | "nbds+unix" if rest.contains("socket=/") => Ok(Spec::Nbd(known.to_owned())),
            "nbd+unix" | "nbds+unix" => refused("it names no socket, as in nbd+unix:///export?socket=/path"),
            _ => refused(
                "only files, nbd://, nbd+unix:// and over TLS nbds://, nbds+unix:// are read; download it first",
            ),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A URI without the part before `@`, which may hold a user, and without the query where that is not one of NBD's: others have
/// signatures in it. Everything else as it is.
#[must_use]
pub fn shown(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return uri.to_owned();
    };
    let authority_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let begin = rest[..authority_ends].rfind('@').map_or(0, |at| at + 1);
    match rest.find('?').filter(|_| !scheme.starts_with("nbd")) {
        Some(query) => format!("{scheme}://{}?…", &rest[begin..query]),
        None => format!("{scheme}://{}", &rest[begin..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_paths_from_uris() {
        let path = |text: &str| assert_eq!(Spec::parse(text.as_ref()).unwrap(), Spec::Path(text.into()));
        [
            "disk.img",
            "/a,b:c.qcow2",
            "./json:{}",
            "nbd:disk",
            "-o",
            "a b://c",
        ]
        .iter()
        .for_each(|text| path(text));
        let nbd = |text: &str| assert_eq!(Spec::parse(text.as_ref()).unwrap(), Spec::Nbd(text.into()));
        [
            "nbd://host/x",
            "nbd://[::1]:10809",
            "nbd+unix:///x?socket=/run/s",
            "nbds://host/x?tls-certificates=/etc/pki",
            "nbds+unix:///x?socket=/run/s",
        ]
        .iter()
        .for_each(|text| nbd(text));
        let refused = |text: &str| assert!(Spec::parse(text.as_ref()).is_err(), "{text}");
        [
            "",
            "json:{}",
            "http://x/y",
            "nbd://",
            "nbd:///x",
            "nbd+unix:///x",
            "ssh://h/x",
            "nbds://",
            "nbds+unix:///x",
        ]
        .iter()
        .for_each(|text| refused(text));
    }

    #[test]
    fn shows_no_user() {
        assert_eq!(shown("nbd://me:secret@host/x@y"), "nbd://host/x@y");
        assert_eq!(shown("nbd+unix:///x?socket=/a@b"), "nbd+unix:///x?socket=/a@b");
        assert_eq!(
            shown("https://me:secret@host/x?Signature=secret"),
            "https://host/x?…"
        );
    }
}
