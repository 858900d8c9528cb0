//! How connections to exports are encrypted, and by what both sides prove who they are.

mod client;
mod files;
mod subject;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use client::{ClientTls, authorities, client_config};
pub use files::CredentialsError;
pub(crate) use files::{AUTHORITY, SERVER_CERTIFICATE, SERVER_KEY};

use crate::{
    ExportError, NbdAddress,
    handshake::{Dial, Security},
};

/// What a server proves itself with, and what it demands of clients. The names of the files are those of qemu, libnbd and
/// nbdkit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// X.509. Each client must have a certificate of the authority, too.
    Certificates {
        /// Folder with `ca-cert.pem`, `server-cert.pem`, `server-key.pem`, and for our own handshakes `client-cert.pem` and
        /// `client-key.pem`. `ca-crl.pem` is heeded by qemu where it is there.
        folder: PathBuf,
        /// A name that is in the server's certificate, if the address that it listens on is not.
        hostname: Option<String>,
    },
    /// Pre-shared keys: whoever has one of them. Only qemu-storage-daemon.
    Keys {
        /// Folder with `keys.psk`: lines of `USER:HEXADECIMAL`, as `psktool` writes them.
        folder: PathBuf,
    },
}

impl Tls {
    /// The folder of the files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self {
            Self::Certificates { folder, .. } | Self::Keys { folder } => folder,
        }
    }

    /// Looks whether all files are there, fit together, and are nobody else's to read or change.
    pub(crate) fn check(&self) -> Result<(), ExportError> {
        crate::runtime::plain_absolute(self.folder())?;
        let checked = match self {
            Self::Certificates { folder, .. } => files::check_certificates(folder),
            Self::Keys { folder } => files::check_keys(folder),
        };
        checked.map_err(ExportError::Credentials)
    }

    /// How a server on this address is dialled by us. The files are read anew: certificates are renewed now and then.
    pub(crate) fn dial(this: Option<&Self>, listen: &NbdAddress) -> Result<Dial, ExportError> {
        let address = listen.dial();
        let security = match this {
            None => Security::Plain,
            Some(Self::Keys { .. }) => Security::Keys,
            Some(Self::Certificates { folder, hostname }) => {
                let name = hostname.clone().unwrap_or_else(|| match &address {
                    NbdAddress::Tcp(address) => address.ip().to_string(),
                    NbdAddress::Unix(_) => "localhost".to_owned(),
                });
                Security::Certificates(ClientTls::new(folder, &name).map_err(ExportError::Credentials)?)
            }
        };
        Ok(Dial { address, security })
    }

    /// The subject of our own certificate, as GnuTLS writes it; with keys there is none.
    pub(crate) fn own_subject(&self) -> Result<Option<String>, ExportError> {
        match self {
            Self::Keys { .. } => Ok(None),
            Self::Certificates { folder, .. } => subject::of_client(folder)
                .map(Some)
                .map_err(ExportError::Credentials),
        }
    }
}

/// Refuses to serve disks in the clear to anything but this machine.
pub(crate) fn check_listen(listen: &NbdAddress, tls: Option<&Tls>) -> Result<(), ExportError> {
    match listen {
        NbdAddress::Unix(path) => crate::runtime::check_socket_path(path)?,
        NbdAddress::Tcp(address) if address.port() == 0 => {
            return Err(ExportError::Config {
                problem: "port 0 cannot be shared".to_owned(),
            });
        }
        NbdAddress::Tcp(address) if !address.ip().is_loopback() && tls.is_none() => {
            return Err(ExportError::NeedsTls {
                address: listen.clone(),
            });
        }
        NbdAddress::Tcp(_) => {}
    }
    tls.map_or(Ok(()), Tls::check)
}
