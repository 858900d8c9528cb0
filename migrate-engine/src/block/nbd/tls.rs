//! Encrypting a connection: whom we trust, who we are, and the TLS handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nbd_export::tls::{CredentialsError, authorities, client_config};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::error::NbdError;
use super::socket::{Socket, WaitEnded};
use super::uri::{NbdEndpoint, NbdTls};

/// Encrypts a connection whose server has agreed to that. The server must prove its name.
pub(super) fn begin(
    socket: &mut Socket,
    tls: &NbdTls,
    endpoint: &NbdEndpoint,
    patience: Duration,
) -> Result<(), NbdError> {
    let failed = |source: io::Error| NbdError::Tls {
        endpoint: endpoint.to_string(),
        source,
    };
    let name = match (&tls.hostname, endpoint) {
        (Some(name), _) => name.clone(),
        (None, NbdEndpoint::Tcp { host, .. }) => host.clone(),
        (None, NbdEndpoint::Unix { .. }) => "localhost".to_owned(),
    };
    let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
    let client = ClientConnection::new(Arc::new(config(tls)?), name);
    let client = client.map_err(|error| failed(io::Error::other(error)))?;
    socket.encrypt(client).map_err(|error| {
        let waited = error.get_ref().is_some_and(|inner| inner.is::<WaitEnded>());
        if waited {
            NbdError::transport("receive from", error, patience)
        } else {
            failed(error)
        }
    })
}

fn config(tls: &NbdTls) -> Result<ClientConfig, NbdError> {
    let read = match &tls.certificates {
        Some(folder) => authorities(folder).and_then(|trusted| client_config(trusted, folder, Some(folder))),
        None => {
            let trusted = rustls_native_certs::load_native_certs().certs;
            client_config(trusted, Path::new("the system's certificates"), None)
        }
    };
    read.map_err(|CredentialsError { path, why }| NbdError::Certificates { path, why })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::{TempDir, tempdir};

    use super::*;

    const AUTHORITY: &str = "ca-cert.pem";
    const CERTIFICATE: &str = "client-cert.pem";

    use crate::block::testing::{Server, have, local, random_image, run};
    use crate::block::{Cancel, InitialContent, NbdExport, NbdOptions, NbdUri};
    use crate::transfer::{CopyOptions, Progress, copy};

    /// Writes an authority, a server's certificate for `localhost` and a client's into a folder, by nbdkit's names and ours.
    fn pki(folder: &Path) {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.join(AUTHORITY), authority.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = rcgen::Issuer::new(authority, key);
        for (name, usage) in [
            ("server", rcgen::ExtendedKeyUsagePurpose::ServerAuth),
            ("client", rcgen::ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.extended_key_usages.push(usage);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(folder.join(format!("{name}-cert.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
        }
    }

    struct Site {
        folder: TempDir,
        image: PathBuf,
        server: Server,
    }

    /// An nbdkit that serves an image, with these options.
    fn site(options: &[&str]) -> Site {
        let folder = tempdir().unwrap();
        pki(folder.path());
        let image = folder.path().join("image");
        random_image(&image, (9 << 20) + 1234, 5);
        let certificates = format!("--tls-certificates={}", folder.path().display());
        let arguments = [
            &[certificates.as_str()],
            options,
            &["file", image.to_str().unwrap()],
        ]
        .concat();
        let server = Server::nbdkit(folder.path(), &arguments);
        Site {
            folder,
            image,
            server,
        }
    }

    impl Site {
        fn connect(&self, tls: Option<NbdTls>) -> Result<NbdExport, NbdError> {
            let uri = NbdUri {
                tls,
                ..self.server.uri()
            };
            let mut connected = None;
            crate::block::testing::wait_until("the server", || {
                let tried = NbdExport::connect(uri.clone(), NbdOptions::default());
                let is_there = !matches!(tried, Err(NbdError::Connect { .. }));
                connected = Some(tried);
                is_there
            });
            connected.unwrap()
        }
    }

    fn trusting(folder: &Path) -> NbdTls {
        NbdTls {
            certificates: Some(folder.to_owned()),
            hostname: None,
        }
    }

    #[test]
    fn a_copy_over_tls_is_equal_both_ways() {
        if !have(&["nbdkit"]) {
            return;
        }
        let site = site(&["--tls=require", "--tls-verify-peer"]);
        let source = site.connect(Some(trusting(site.folder.path()))).unwrap();
        let target = site.folder.path().join("target");
        std::fs::File::create(&target).unwrap().set_len(10 << 20).unwrap();
        let (options, cancel) = (CopyOptions::default(), Cancel::new());
        let onto = local(&target, InitialContent::Unknown);
        let there = copy(&source, &onto, &options, &Progress::new(), &cancel).unwrap();
        assert_eq!(there.workers, options.workers);
        run(
            "cmp",
            &[
                "--bytes=9438418",
                site.image.to_str().unwrap(),
                target.to_str().unwrap(),
            ],
        );
        // And through TLS into another place of the same content: writes are encrypted as well.
        std::fs::File::options()
            .write(true)
            .open(&site.image)
            .unwrap()
            .set_len(0)
            .unwrap();
        std::fs::File::options()
            .write(true)
            .open(&site.image)
            .unwrap()
            .set_len((9 << 20) + 1234)
            .unwrap();
        let back = copy(
            &local(&target, InitialContent::Unknown),
            &site.connect(Some(trusting(site.folder.path()))).unwrap(),
            &options,
            &Progress::new(),
            &cancel,
        );
        // The target is larger than the export: refused before a byte is sent.
        assert!(back.is_err());
        std::fs::File::options()
            .write(true)
            .open(&target)
            .unwrap()
            .set_len((9 << 20) + 1234)
            .unwrap();
        let writable = site.connect(Some(trusting(site.folder.path()))).unwrap();
        copy(
            &local(&target, InitialContent::Unknown),
            &writable,
            &options,
            &Progress::new(),
            &cancel,
        )
        .unwrap();
        run("cmp", &[site.image.to_str().unwrap(), target.to_str().unwrap()]);
    }

    #[test]
    fn whoever_is_not_trusted_gets_nothing() {
        if !have(&["nbdkit"]) {
            return;
        }
        let site = site(&["--tls=require", "--tls-verify-peer"]);
        let stranger = tempdir().unwrap();
        pki(stranger.path());
        let error = site.connect(Some(trusting(stranger.path()))).unwrap_err();
        assert!(
            matches!(&error, NbdError::Tls { source, .. } if source.to_string().contains("certificate")),
            "{error:?}"
        );
        let other = NbdTls {
            hostname: Some("elsewhere".into()),
            ..trusting(site.folder.path())
        };
        let error = site.connect(Some(other)).unwrap_err();
        assert!(matches!(error, NbdError::Tls { .. }), "{error:?}");
        let error = site.connect(None).unwrap_err();
        assert!(matches!(error, NbdError::TlsRequired { .. }), "{error:?}");
        // A client that cannot show a certificate.
        std::fs::remove_file(site.folder.path().join(CERTIFICATE)).unwrap();
        let error = site.connect(Some(trusting(site.folder.path()))).unwrap_err();
        assert!(!matches!(error, NbdError::Connect { .. }), "{error:?}");
    }

    #[test]
    fn a_server_without_tls_is_refused_where_tls_is_wanted() {
        if !have(&["nbdkit"]) {
            return;
        }
        let site = site(&["--tls=off"]);
        let error = site.connect(Some(trusting(site.folder.path()))).unwrap_err();
        assert!(matches!(error, NbdError::TlsRefused { .. }), "{error:?}");
        let nowhere = NbdTls {
            certificates: Some("/nowhere".into()),
            hostname: None,
        };
        let error = config(&nowhere).unwrap_err();
        assert!(
            matches!(&error, NbdError::Certificates { path, .. } if path.ends_with(AUTHORITY)),
            "{error}"
        );
    }
}
