//! Addresses: what is read, what is refused, and that printing and reading agree.

use proptest::prelude::*;

use super::*;

fn tcp(host: &str, port: u16, export: &str) -> NbdUri {
    NbdUri {
        endpoint: NbdEndpoint::Tcp {
            host: host.into(),
            port,
        },
        export: export.into(),
        tls: None,
    }
}

fn over_tls(uri: NbdUri, certificates: Option<&str>, hostname: Option<&str>) -> NbdUri {
    let (certificates, hostname) = (certificates.map(Into::into), hostname.map(Into::into));
    NbdUri {
        tls: Some(NbdTls {
            certificates,
            hostname,
        }),
        ..uri
    }
}

fn unix(socket: &str, export: &str) -> NbdUri {
    NbdUri {
        endpoint: NbdEndpoint::Unix {
            socket: socket.into(),
        },
        export: export.into(),
        tls: None,
    }
}

#[test]
fn good_addresses() {
    let cases = [
        ("nbd://host", tcp("host", 10809, "")),
        ("NBD://host/", tcp("host", 10809, "")),
        (
            "nbd://host:10810/migration-vol-7",
            tcp("host", 10810, "migration-vol-7"),
        ),
        ("nbd://[::1]:1/a/b", tcp("::1", 1, "a/b")),
        ("nbd://[fe80::1]/x", tcp("fe80::1", 10809, "x")),
        ("nbd://host/a%20b%2Fc%3f", tcp("host", 10809, "a b/c?")),
        ("nbd+unix:///?socket=/run/s.sock", unix("/run/s.sock", "")),
        ("nbd+unix:///disk?socket=s%20s.sock", unix("s s.sock", "disk")),
        ("nbd+unix://?socket=/s", unix("/s", "")),
        ("nbds://host/x", over_tls(tcp("host", 10809, "x"), None, None)),
        (
            "nbds+unix:///x?tls-hostname=a&socket=/s&tls-certificates=/etc/pki%20x",
            over_tls(unix("/s", "x"), Some("/etc/pki x"), Some("a")),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<NbdUri>(), Ok(expected), "{text}");
    }
}

#[test]
fn refused_addresses() {
    use NbdUriError as E;
    let long_socket = format!("nbd+unix:///?socket=/{}", "x".repeat(200));
    let long_export = format!("nbd://h/{}", "x".repeat(5000));
    let cases = [
        ("", E::Scheme),
        ("/dev/sda", E::Scheme),
        ("http://host/", E::Scheme),
        (
            "nbds://host/x?tls-certificates=",
            E::Parameter {
                name: "tls-certificates".into(),
            },
        ),
        (
            "nbds://host/x?tls-hostname=a&tls-hostname=b",
            E::Parameter {
                name: "tls-hostname".into(),
            },
        ),
        ("nbds://user@host/x", E::UserName),
        ("nbd://user@host/x", E::UserName),
        ("nbd:///x", E::Host),
        ("nbd://[::1/x", E::Host),
        ("nbd://[zz]/x", E::Host),
        ("nbd://[::1]x/x", E::Host),
        ("nbd://ho st/x", E::Host),
        ("nbd://%27%40b/x", E::Host),
        ("nbd://a%3Ab/x", E::Host),
        ("nbd://a%2Fb/x", E::Host),
        ("nbd://host:0/x", E::Port { port: "0".into() }),
        ("nbd://host:+5/x", E::Port { port: "+5".into() }),
        ("nbd://host:70000/x", E::Port { port: "70000".into() }),
        ("nbd://::1/x", E::Host),
        ("nbd+unix:///x", E::NoSocket),
        ("nbd+unix:///x?socket=", E::Socket),
        ("nbd+unix:///x?socket=a%00b", E::Socket),
        (&long_socket, E::Socket),
        ("nbd+unix://host/x?socket=/s", E::HostOfSocket),
        (
            "nbd://host/x?socket=/s",
            E::Parameter {
                name: "socket".into(),
            },
        ),
        (
            "nbd://host/x?tls-certificates=/s",
            E::Parameter {
                name: "tls-certificates".into(),
            },
        ),
        (
            "nbd+unix:///x?socket=/a&socket=/b",
            E::Parameter {
                name: "socket".into(),
            },
        ),
        ("nbd://host/%4", E::Encoding),
        ("nbd://host/%zz", E::Encoding),
        ("nbd://host/%ff", E::Encoding),
        ("nbd://host/a%00", E::Export),
        (&long_export, E::Export),
        ("nbd://host/x#y", E::Fragment),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<NbdUri>(), Err(expected), "{text}");
    }
}

proptest! {
    #[test]
    fn printing_and_reading_agree(export in "[^\0]{0,40}", socket in "/[^\0]{1,20}", port in 1u16..) {
        let uris = [tcp("host", port, &export), tcp("::1", port, &export), unix(&socket, &export)];
        for uri in uris.into_iter().flat_map(|uri| [uri.clone(), over_tls(uri, Some(&socket), Some("host"))]) {
            prop_assert_eq!(uri.to_string().parse::<NbdUri>(), Ok(uri));
        }
    }

    #[test]
    fn any_text_is_answered_without_panic(text in "(nbd|nbd\\+unix|nbds)?(://)?[\\PC%\\[\\]:@?&=/#]{0,60}") {
        let _ = text.parse::<NbdUri>();
    }
}
