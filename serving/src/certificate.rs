//! The certificate that a service shows: read from files, made where there are none, and read anew without a restart.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::validity;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The files of a certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those of its authorities after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether those who connect show certificates as well, and who vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    Unasked,
    /// They may: one that is shown must be vouched for by an authority of this PEM file.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// A certificate that is shown.
pub struct Certificate {
    files: CertificateFiles,
    clients: Clients,
    shown: RwLock<Shown>,
}

struct Shown {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    expires_at: Option<Timestamp>,
}

/// What is wrong with the files of a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate is not there, or is none.
    #[error("cannot read the certificate in {path}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("there is no certificate in {path}", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The key is not there, or is none.
    #[error("cannot read the private key in {path}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The authorities of clients are not there, or are none.
    #[error("cannot take the authorities of clients in {path}", path = path.display())]
    Clients {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// They do not belong together.
    #[error("the key in {key} is not that of {certificate}", key = files.key.display(), certificate = files.certificate.display())]
    Mismatch {
        /// The files.
        files: CertificateFiles,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// None could be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// What was made could not be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(files: CertificateFiles, clients: Clients) -> Result<Self, CertificateError> {
        Ok(Self {
            shown: RwLock::new(read(&files, &clients)?),
            files,
            clients,
        })
    }

    /// Reads the files anew; connections that are there stay as they are.
    ///
    /// # Errors
    /// What is wrong with them: what was shown before goes on being shown.
    pub fn read_anew(&self) -> Result<(), CertificateError> {
        let shown = read(&self.files, &self.clients)?;
        *self.shown.write() = shown;
        Ok(())
    }

    /// Reads the files anew whenever they have changed, for as long as it is awaited. What is wrong with them is logged, and looked
    /// at again when they change.
    pub async fn follow(&self) -> Infallible {
        let mut known = self.marks();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let marks = self.marks();
            if marks == known {
                continue;
            }
            known = marks;
            match self.read_anew() {
                Ok(()) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read anew")
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "the certificate stays as it was");
                }
            }
        }
    }

    /// By what a change of the files is told.
    fn marks(&self) -> Vec<Option<(u64, u64, i64, i64)>> {
        use std::os::unix::fs::MetadataExt as _;
        let authorities = match &self.clients {
            Clients::Unasked => None,
            Clients::Optional(path) | Clients::Required(path) => Some(path),
        };
        let files = [&self.files.certificate, &self.files.key]
            .into_iter()
            .chain(authorities);
        let mark = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        files.map(mark).collect()
    }

    /// The certificate itself, for its fingerprint.
    #[must_use]
    pub fn shown(&self) -> CertificateDer<'static> {
        self.shown.read().certificate.clone()
    }

    /// Until when what is shown holds; nothing where it does not tell.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.shown.read().expires_at
    }

    /// What to show to the next who connects.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shown.read().config)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.files).finish()
    }
}

fn read(files: &CertificateFiles, clients: &Clients) -> Result<Shown, CertificateError> {
    let path = || files.certificate.clone();
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|source| CertificateError::Certificate { path: path(), source })?;
    let certificate = chain.first().cloned();
    let certificate = certificate.ok_or_else(|| CertificateError::Empty { path: path() })?;
    let private = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| CertificateError::Key {
        path: files.key.clone(),
        source,
    })?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier(clients, provider)?)
        .with_single_cert(chain, private)
        .map_err(|source| CertificateError::Mismatch {
            files: files.clone(),
            source,
        })?;
    Ok(Shown {
        config: Arc::new(config),
        expires_at: validity::end(&certificate),
        certificate,
    })
}

fn verifier(
    clients: &Clients,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let (path, is_optional) = match clients {
        Clients::Unasked => return Ok(WebPkiClientVerifier::no_client_auth()),
        Clients::Optional(path) => (path, true),
        Clients::Required(path) => (path, false),
    };
    let build = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(path)? {
            roots.add(authority?)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match is_optional {
            true => builder.allow_unauthenticated(),
            false => builder,
        };
        Ok(builder.build()?)
    };
    build().map_err(|source| CertificateError::Clients {
        path: path.clone(),
        source,
    })
}

/// Where neither file is there, makes a certificate that vouches for itself, for the name of this machine: whoever connects
/// knows it by its fingerprint. Whether one was made. A crash leaves at most a key, which is told by [`Certificate::read`].
///
/// # Errors
/// What keeps it from being written.
pub fn make_where_missing(files: &CertificateFiles) -> Result<bool, CertificateError> {
    if files.certificate.exists() || files.key.exists() {
        return Ok(false);
    }
    let mut names = vec!["localhost".to_owned()];
    names.extend(
        rustix::system::uname()
            .nodename()
            .to_str()
            .ok()
            .map(str::to_owned),
    );
    let key = rcgen::KeyPair::generate().map_err(CertificateError::Make)?;
    let parameters = rcgen::CertificateParams::new(names).map_err(CertificateError::Make)?;
    let certificate = parameters.self_signed(&key).map_err(CertificateError::Make)?;
    // The key first: a certificate without it would not be made anew.
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.certificate, &certificate.pem(), 0o644)?;
    Ok(true)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::File::options();
        let mut file = options.create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| CertificateError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> CertificateFiles {
        CertificateFiles {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }

    #[test]
    fn one_is_made_once_and_its_key_is_ours_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        assert!(make_where_missing(&files).unwrap());
        let made = std::fs::read(&files.certificate).unwrap();
        assert!(!make_where_missing(&files).unwrap());
        assert_eq!(std::fs::read(&files.certificate).unwrap(), made);
        let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_wrong_is_said_and_what_was_shown_stays() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = files(dir.path());
        make_where_missing(&files).unwrap();
        let shown = Certificate::read(files.clone(), Clients::Unasked).unwrap();
        let before = shown.config();
        make_where_missing(&CertificateFiles {
            certificate: other.path().join("cert.pem"),
            key: files.key.with_extension("new"),
        })
        .unwrap();
        std::fs::rename(files.key.with_extension("new"), &files.key).unwrap();
        let error = shown.read_anew().unwrap_err();
        assert!(error.to_string().contains("is not that of"), "{error}");
        std::fs::remove_file(&files.key).unwrap();
        let error = shown.read_anew().unwrap_err();
        assert!(error.to_string().contains("private key"), "{error}");
        assert!(Arc::ptr_eq(&before, &shown.config()));
        assert!(!make_where_missing(&files).unwrap(), "its certificate is there");
        let error = Certificate::read(files, Clients::Unasked).unwrap_err();
        assert!(error.to_string().contains("key.pem"), "{error}");
    }
}
