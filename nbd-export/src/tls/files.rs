//! The files of certificates and keys: found, guarded well enough, and fitting together.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::client;

pub(crate) const AUTHORITY: &str = "ca-cert.pem";
pub(crate) const SERVER_CERTIFICATE: &str = "server-cert.pem";
pub(crate) const SERVER_KEY: &str = "server-key.pem";
pub(super) const CLIENT_CERTIFICATE: &str = "client-cert.pem";
pub(super) const CLIENT_KEY: &str = "client-key.pem";
const PRE_SHARED_KEYS: &str = "keys.psk";
/// Bits that let others read a secret, or write anything.
const SECRET: u32 = 0o077;
const PUBLIC: u32 = 0o022;

/// A file of certificates or keys that cannot be used. Tells nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct CredentialsError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub why: String,
}

impl CredentialsError {
    pub(super) fn new(path: &Path, why: impl std::fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Everything that a server with certificates needs, and what we need to confirm its exports.
pub(super) fn check_certificates(folder: &Path) -> Result<(), CredentialsError> {
    guarded(folder, PUBLIC)?;
    for name in [AUTHORITY, SERVER_CERTIFICATE, CLIENT_CERTIFICATE] {
        guarded(&folder.join(name), PUBLIC)?;
    }
    for name in [SERVER_KEY, CLIENT_KEY] {
        guarded(&folder.join(name), SECRET)?;
    }
    client::client_config(client::authorities(folder)?, folder, Some(folder))?;
    let certificate = folder.join(SERVER_CERTIFICATE);
    let chain = certificates(&certificate)?;
    let server = ServerConfig::builder_with_provider(client::provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth());
    let key = key(&folder.join(SERVER_KEY))?;
    let fits = server.and_then(|server| server.with_single_cert(chain, key));
    fits.map(drop)
        .map_err(|error| CredentialsError::new(&certificate, format!("with {SERVER_KEY}: {error}")))
}

/// Keys that both sides have: at least one, in lines that GnuTLS can read.
pub(super) fn check_keys(folder: &Path) -> Result<(), CredentialsError> {
    guarded(folder, PUBLIC)?;
    let path = folder.join(PRE_SHARED_KEYS);
    guarded(&path, SECRET)?;
    let text = fs::read_to_string(&path).map_err(|error| CredentialsError::new(&path, error))?;
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .peekable();
    if lines.peek().is_none() {
        return Err(CredentialsError::new(&path, "has no key; make one with psktool"));
    }
    for (at, line) in lines {
        let is_key = |key: &str| {
            key.len() >= 32 && key.len().is_multiple_of(2) && key.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if !line
            .split_once(':')
            .is_some_and(|(user, key)| !user.is_empty() && is_key(key.trim_end()))
        {
            let why = format!(
                "line {} is not USER:KEY with a key of 16 bytes or more in hexadecimal",
                at + 1
            );
            return Err(CredentialsError::new(&path, why));
        }
    }
    Ok(())
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(CredentialsError::new(file, "has no certificate")),
        read => read.map_err(|error| CredentialsError::new(file, error)),
    }
}

pub(super) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| CredentialsError::new(file, error))
}

/// Whether a file is there, is ours or root's, and has none of these bits.
fn guarded(path: &Path, others: u32) -> Result<(), CredentialsError> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CredentialsError::new(path, "is missing"),
        _ => CredentialsError::new(path, error),
    })?;
    let mode = metadata.mode() & 0o7777;
    if mode & others != 0 {
        let right = mode & !others;
        let why = format!("has mode {mode:04o}: others may read or change it; chmod {right:04o} it");
        return Err(CredentialsError::new(path, why));
    }
    if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err(CredentialsError::new(
            path,
            "belongs to another user; it must be root's or our own",
        ));
    }
    Ok(())
}
