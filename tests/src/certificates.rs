//! A folder of certificates for NBD, by openssl as `docs/nbd-exports.md` has it: server and engine in one.

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

/// Makes a new folder of them, good for `localhost` and `127.0.0.1`.
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
