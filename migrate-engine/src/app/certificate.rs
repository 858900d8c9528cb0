//! The certificate that this service shows: read from files, made where there are none, and read anew without a restart.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use parking_lot::RwLock;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::human;
use crate::source::vsphere::Fingerprint;

/// The files of a certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, and those of its authorities after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate that is shown.
pub(super) struct Certificate {
    files: CertificateFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Certificate {
    /// Reads the files; where neither is there, makes a certificate of its own and says its fingerprint.
    ///
    /// # Errors
    /// What is wrong with the files, or keeps them from being written.
    pub(super) fn read_or_make(files: CertificateFiles) -> anyhow::Result<Self> {
        if !files.certificate.exists() && !files.key.exists() {
            make(&files)?;
        }
        let (config, print) = read(&files)?;
        human::say(&format!(
            "the fingerprint that callers from elsewhere are to believe: {print}"
        ));
        Ok(Self {
            files,
            config: RwLock::new(Arc::new(config)),
        })
    }

    /// Reads the files anew; connections that are there stay as they are.
    ///
    /// # Errors
    /// What is wrong with them: what was shown before goes on being shown.
    pub(super) fn read_anew(&self) -> anyhow::Result<()> {
        let (config, _) = read(&self.files)?;
        *self.config.write() = Arc::new(config);
        Ok(())
    }

    /// What to show to the next who connects.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }
}

fn read(files: &CertificateFiles) -> anyhow::Result<(ServerConfig, Fingerprint)> {
    let CertificateFiles { certificate, key } = files;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.with_context(|| format!("cannot read the certificate in {}", certificate.display()))?;
    let Some(first) = chain.first() else {
        bail!("there is no certificate in {}", certificate.display());
    };
    let print = Fingerprint::of(first);
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the private key in {}", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "the key in {} is not that of {}",
                key.display(),
                certificate.display()
            )
        })?;
    Ok((config, print))
}

/// Makes a certificate that vouches for itself: whoever connects knows it by its fingerprint.
fn make(files: &CertificateFiles) -> anyhow::Result<()> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(
        rustix::system::uname()
            .nodename()
            .to_str()
            .ok()
            .map(str::to_owned),
    );
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
    // The key first: a certificate without it would not be made anew.
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.certificate, &certificate.pem(), 0o644)?;
    human::say(&format!(
        "a certificate was made: {}",
        files.certificate.display()
    ));
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut options = std::fs::File::options();
    let made = options.create_new(true).write(true).mode(mode).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
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
        Certificate::read_or_make(files.clone()).unwrap();
        let made = std::fs::read(&files.certificate).unwrap();
        Certificate::read_or_make(files.clone()).unwrap();
        assert_eq!(std::fs::read(&files.certificate).unwrap(), made);
        let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_wrong_is_said_and_what_was_shown_stays() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = files(dir.path());
        let shown = Certificate::read_or_make(files.clone()).unwrap();
        let before = shown.config();
        make(&CertificateFiles {
            certificate: other.path().join("cert.pem"),
            key: files.key.with_extension("new"),
        })
        .unwrap();
        std::fs::rename(files.key.with_extension("new"), &files.key).unwrap();
        let error = format!("{:#}", shown.read_anew().unwrap_err());
        assert!(error.contains("is not that of"), "{error}");
        std::fs::remove_file(&files.key).unwrap();
        let error = format!("{:#}", shown.read_anew().unwrap_err());
        assert!(error.contains("private key"), "{error}");
        assert!(Arc::ptr_eq(&before, &shown.config()));
        let Err(error) = Certificate::read_or_make(files) else {
            panic!("a certificate without its key was taken");
        };
        assert!(format!("{error:#}").contains("key.pem"), "{error:#}");
    }
}
