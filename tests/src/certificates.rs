//! Certificates as an operator makes them, with openssl.

use std::path::Path;

use crate::run;

/// Makes `NAME.cert` and `NAME.key` in `dir`, or makes them anew: a certificate for the loopback that vouches for itself and holds
/// so many days. Returns its fingerprint.
///
/// # Panics
/// Where openssl cannot.
pub fn make_certificate(dir: &Path, name: &str, days: u32) -> String {
    let path = |end: &str| dir.join(format!("{name}.{end}")).display().to_string();
    let (cert, key) = (path("cert"), path("key"));
    let made = format!(
        "umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -keyout {key} -out {cert} \
         -subj /CN={name} -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    );
    run("sh", ["-c", &made]);
    let print = run(
        "openssl",
        ["x509", "-noout", "-fingerprint", "-sha256", "-in", &cert],
    );
    let (_, print) = print.rsplit_once('=').expect("openssl prints NAME=FINGERPRINT");
    print.to_owned()
}
