//! An authority, and folders of certificates as operators make them: files named as qemu and libnbd want them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nbd_export::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// Signs certificates, into folders below one.
pub struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        fs::create_dir_all(folder).unwrap();
        Self {
            folder: folder.to_owned(),
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's folder, with a client's certificate for our own handshakes.
    pub fn server(&self) -> Tls {
        let folder = self.client("engine", 2100);
        self.sign(
            &folder,
            "server",
            "server",
            2100,
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        Tls::Certificates {
            folder,
            hostname: None,
        }
    }

    /// A client's folder: `O=acme,CN=name`, good until the year.
    pub fn client(&self, name: &str, until: i32) -> PathBuf {
        let folder = self.folder.join(format!("{name}-{until}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ca-cert.pem"), &self.certificate).unwrap();
        self.sign(
            &folder,
            "client",
            name,
            until,
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        folder
    }

    fn sign(&self, folder: &Path, file: &str, name: &str, until: i32, usage: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::OrganizationName, "acme");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(usage);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(folder.join(format!("{file}-cert.pem")), certificate).unwrap();
        secret(&folder.join(format!("{file}-key.pem")), &key.serialize_pem());
    }
}

/// Writes a file that only its owner may read.
pub fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
