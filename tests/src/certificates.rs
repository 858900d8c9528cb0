//! Certificates as an operator makes them, with openssl.

use std::fs;
use std::path::Path;

use crate::run;

/// The files that an exporter and its clients want of such a folder.
pub const NBD_CERTIFICATES: [&str; 5] = [
    "ca-cert.pem",
    "server-cert.pem",
    "server-key.pem",
    "client-cert.pem",
    "client-key.pem",
];

/// Makes a new folder of them as `docs/nbd-exports.md` has it, server and engine in one, good for `localhost` and `127.0.0.1`.
///
/// # Panics
/// Where there is one already, or openssl is missing.
pub fn nbd_certificates(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let commands = "umask 077; ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
        openssl req -x509 $ec -keyout ca-key.pem -out ca-cert.pem -subj /CN=authority
        for name in server client; do
          openssl req $ec -keyout $name-key.pem -out $name.csr -subj /O=acme/CN=$name
          echo 'subjectAltName = DNS:localhost,IP:127.0.0.1' > ext
          openssl x509 -req -in $name.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 30 \
            -extfile ext -out $name-cert.pem
        done";
    let script = format!("set -e; cd {}; {commands}", folder.display());
    run("sh", ["-c", &script]);
}

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
