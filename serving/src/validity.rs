//! Until when a certificate holds.

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The end of a certificate's validity; nothing where it tells none that can be read.
pub(crate) fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificates_validity_is_read() {
        assert_eq!(end(&CertificateDer::from(vec![0x30, 0])), None);
        let mut wanted = rcgen::CertificateParams::new(vec!["here".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(2031, 5, 6);
        let made = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert_eq!(end(made.der()), Some("2031-05-06T00:00:00Z".parse().unwrap()));
    }
}
