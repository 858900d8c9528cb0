//! The API key and its secret: read from a file that nobody else can read, and never shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The name of the systemd credential.
const CREDENTIAL: &str = "cloudstack";
/// Far more than two keys take.
const LONGEST: u64 = 64 << 10;
/// Permission bits of everybody else.
const OTHERS: u32 = 0o007;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

/// Who we are to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) api_key: Secret,
    pub(super) secret_key: Secret,
}

/// Why there are no credentials. Says nothing of what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Nobody said where they are.
    #[error(
        "no credentials: neither `cloudstack.credentials_file` nor a systemd credential `cloudstack` is there"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("cannot read credentials {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Everybody on this machine may read or change the file.
    #[error("credentials {} are open to others (mode {mode:04o}): chmod o= them", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not say what it must.
    #[error("credentials {}: {why}; expected are the lines `api_key = …` and `secret_key = …`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Secret {
    /// The text itself, for signing only.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Credentials {
    /// Reads them from `file`, else from the systemd credential `cloudstack`. Blocks on the file system.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, CredentialsError> {
        let from_systemd =
            || std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL));
        let path = file
            .map(Path::to_owned)
            .or_else(from_systemd)
            .ok_or(CredentialsError::Nowhere)?;
        let text = read(&path)?;
        Self::parse(&text).map_err(|why| CredentialsError::Malformed { path, why })
    }

    /// Lines of `key = value`, the value with or without quotes: what is TOML, and what other clients write.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut api_key, mut secret_key) = (None, None);
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or(format!("line {number} is no `key = value`"))?;
            let slot = match key.trim() {
                "api_key" => &mut api_key,
                "secret_key" => &mut secret_key,
                _ => return Err(format!("line {number} sets neither of the two keys")),
            };
            if slot.replace(unquoted(value.trim())).is_some() {
                return Err(format!("line {number} sets a key again"));
            }
        }
        let taken = |value: Option<&str>, key| {
            let value = value
                .filter(|value| !value.is_empty())
                .ok_or(format!("`{key}` is missing"))?;
            Ok::<_, String>(Secret(value.to_owned()))
        };
        Ok(Self {
            api_key: taken(api_key, "api_key")?,
            secret_key: taken(secret_key, "secret_key")?,
        })
    }
}

impl Credentials {
    /// The text without our keys: a server may say what it was asked, and what it says is logged and recorded.
    pub(super) fn keep_out_of(&self, text: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(text);
        let keys = [self.api_key.reveal(), self.secret_key.reveal()];
        let held = keys.iter().any(|key| text.contains(key));
        held.then(|| {
            keys.iter()
                .fold(text.into_owned(), |text, key| text.replace(key, "[our key]"))
                .into_bytes()
        })
    }
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

/// Opens once and judges what it opened, so that nothing can be exchanged in between.
fn read(path: &Path) -> Result<String, CredentialsError> {
    let unreadable = |source| CredentialsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(CredentialsError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn both_spellings_are_read() {
        for text in [
            "api_key = \"A-1\"\nsecret_key = 'S=1'\n",
            "# ours\n[cloudstack]\nsecret_key=S=1\n\napi_key = A-1",
        ] {
            let (_dir, path) = file(text, 0o640);
            let read = Credentials::load(Some(&path)).unwrap();
            assert_eq!(
                (read.api_key.reveal(), read.secret_key.reveal()),
                ("A-1", "S=1"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_others_may_read_is_refused() {
        for mode in [0o644, 0o602, 0o777] {
            let (_dir, path) = file("api_key=a\nsecret_key=b", mode);
            let error = Credentials::load(Some(&path)).unwrap_err();
            assert!(
                matches!(error, CredentialsError::Open { mode: m, .. } if m == mode),
                "{error}"
            );
        }
    }

    #[test]
    fn neither_errors_nor_debug_show_a_secret() {
        for text in [
            "api_key = hush",
            "secret_key = hush",
            "hush",
            "hush = hush",
            "api_key = hush\napi_key = hush",
            "api_key = ''\nsecret_key = hush",
        ] {
            let (_dir, path) = file(text, 0o600);
            let error = Credentials::load(Some(&path)).unwrap_err();
            assert!(matches!(error, CredentialsError::Malformed { .. }), "{text}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
        let (_dir, path) = file("api_key = hush\nsecret_key = hush", 0o600);
        assert!(!format!("{:?}", Credentials::load(Some(&path)).unwrap()).contains("hush"));
    }
}
