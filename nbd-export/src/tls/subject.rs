//! The subject of a certificate, written as GnuTLS writes it for qemu's allow-lists: `C=DE,O=Example\\, Ltd,CN=engine`, in
//! the certificate's own order.

use std::path::Path;

use x509_parser::{
    certificate::X509Certificate, oid_registry::Oid, prelude::FromDer as _, x509::AttributeTypeAndValue,
};

use super::files::{CLIENT_CERTIFICATE, CredentialsError, certificates};

/// Attributes whose short name is the same everywhere.
const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The subject of the certificate that we show ourselves.
pub(super) fn of_client(folder: &Path) -> Result<String, CredentialsError> {
    let file = folder.join(CLIENT_CERTIFICATE);
    let chain = certificates(&file)?;
    let unusable = |why: String| CredentialsError::new(&file, why);
    let (_, certificate) =
        X509Certificate::from_der(&chain[0]).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let mut parts = Vec::new();
    for names in certificate.subject().iter() {
        let written: Result<Vec<_>, _> = names.iter().map(attribute).collect();
        parts.push(written.map_err(unusable)?.join("+"));
    }
    match parts.is_empty() {
        true => Err(unusable("has no subject; allow-lists go by that".to_owned())),
        false => Ok(parts.join(",")),
    }
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Result<String, String> {
    let value = attribute
        .as_str()
        .map_err(|error| format!("its subject cannot be read: {error}"))?;
    Ok(format!(
        "{}={}",
        short_name(attribute.attr_type())?,
        escaped(value)
    ))
}

fn short_name(kind: &Oid<'_>) -> Result<&'static str, String> {
    let number = kind.to_id_string();
    let known = NAMES.iter().find(|(id, _)| *id == number);
    known.map(|(_, name)| *name).ok_or_else(|| {
        format!("its subject has an attribute ({number}) that allow-lists cannot tell; use C, ST, L, O, OU, CN, DC or UID")
    })
}

/// RFC 4514, 2.4.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, character) in value.chars().enumerate() {
        let edge = (at == 0 && matches!(character, ' ' | '#')) || (at == last && character == ' ');
        if edge || ",+\"\\<>;".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
