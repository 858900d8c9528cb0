//! Until when the certificate holds that is shown to callers from elsewhere, for the metrics.

use std::path::Path;

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The end of the validity of the first certificate of a file, read anew; nothing where it cannot be read.
pub(super) fn expiry(file: &Path) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_file(file).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificates_validity_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cert.pem");
        assert_eq!(expiry(&file), None);
        let mut wanted = rcgen::CertificateParams::new(vec!["here".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let made = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        std::fs::write(&file, made.pem()).unwrap();
        assert_eq!(expiry(&file), Some("2031-05-06T00:00:00Z".parse().unwrap()));
    }
}
