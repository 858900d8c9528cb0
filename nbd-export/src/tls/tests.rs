//! Folders of certificates as operators make them: right, incomplete, readable by others, and mixed up.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

/// A folder with everything; the client is `O=Example, Ltd,CN=engine`.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write(&dir, AUTHORITY, &authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    for name in ["server", "client"] {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example, Ltd");
        params.distinguished_name.push(DnType::CommonName, "engine");
        let key = KeyPair::generate().unwrap();
        write(
            &dir,
            &format!("{name}-cert.pem"),
            &params.signed_by(&key, &issuer).unwrap().pem(),
        );
        write(&dir, &format!("{name}-key.pem"), &key.serialize_pem());
    }
    dir
}

fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
    fs::write(dir.path().join(name), text).unwrap();
    chmod(dir, name, 0o600);
}

fn chmod(dir: &tempfile::TempDir, name: &str, mode: u32) {
    fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn certificates(dir: &tempfile::TempDir) -> Tls {
    Tls::Certificates {
        folder: dir.path().to_owned(),
        hostname: None,
    }
}

fn refused(tls: &Tls, words: &str) {
    let ExportError::Credentials(error) = tls.check().unwrap_err() else {
        panic!("refused for another reason")
    };
    assert!(error.to_string().contains(words), "`{words}` is not in `{error}`");
}

#[test]
fn a_whole_folder_is_accepted_and_our_subject_told() {
    let dir = folder();
    let tls = certificates(&dir);
    tls.check().unwrap();
    assert_eq!(tls.own_subject().unwrap().unwrap(), "O=Example\\, Ltd,CN=engine");
}

#[test]
fn what_is_missing_mixed_up_or_open_to_others_is_named() {
    for name in [
        AUTHORITY,
        SERVER_CERTIFICATE,
        SERVER_KEY,
        "client-cert.pem",
        "client-key.pem",
    ] {
        let dir = folder();
        fs::remove_file(dir.path().join(name)).unwrap();
        refused(&certificates(&dir), &format!("{name}: is missing"));
    }
    for (name, mode, words) in [
        (SERVER_KEY, 0o640, "chmod 0600"),
        ("client-key.pem", 0o604, "chmod 0600"),
        (SERVER_CERTIFICATE, 0o664, "chmod 0644"),
        ("", 0o775, "chmod 0755"),
    ] {
        let dir = folder();
        chmod(&dir, name, mode);
        refused(&certificates(&dir), words);
    }
    let dir = folder();
    fs::copy(dir.path().join("client-key.pem"), dir.path().join(SERVER_KEY)).unwrap();
    refused(&certificates(&dir), "server-key.pem");
}

#[test]
fn keys_that_no_server_could_read_are_refused_without_being_told() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let tls = Tls::Keys {
        folder: dir.path().to_owned(),
    };
    refused(&tls, "keys.psk: is missing");
    for (text, words) in [
        ("\n", "has no key"),
        ("alice:c0ffee", "line 1"),
        ("alice:0123456789abcdef0123456789abcdef\nbob", "line 2"),
        (":0123456789abcdef0123456789abcdef", "line 1"),
    ] {
        write(&dir, "keys.psk", text);
        refused(&tls, words);
    }
    write(&dir, "keys.psk", "alice:0123456789abcdef0123456789abcdef\n");
    tls.check().unwrap();
    chmod(&dir, "keys.psk", 0o644);
    refused(&tls, "chmod 0600");
}

#[test]
fn other_machines_are_served_over_tls_or_not_at_all() {
    for (address, fine) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("10.0.0.1:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("127.0.0.1:0", false),
    ] {
        let listen = NbdAddress::Tcp(address.parse().unwrap());
        assert_eq!(check_listen(&listen, None).is_ok(), fine, "{address}");
    }
    let dir = folder();
    let listen = NbdAddress::Tcp("0.0.0.0:1".parse().unwrap());
    check_listen(&listen, Some(&certificates(&dir))).unwrap();
}
