//! The sections `http` and `tls`: how much callers may take, who needs a token, and the certificates of TCP.

use std::path::PathBuf;

use serving::{CertificateFiles, Clients, Limits};

use super::keys::Reader;
use crate::model::{Bytes, Scope};

/// How HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The largest request body that is read.
    pub body_limit: Bytes,
    /// How much callers may take.
    pub limits: Limits,
    /// How often each caller may ask in a second; twice as many at once after a pause.
    pub requests_per_second: u32,
    /// Whether callers over the loopback need a token, too.
    pub require_token: bool,
    /// What members of the group of our Unix socket may do.
    pub socket_scope: Scope,
    /// What is shown to callers over TCP, which then speak TLS.
    pub tls: Option<Tls>,
}

impl Http {
    /// Whether everybody who comes over TCP needs a token: over TLS always.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.require_token || self.tls.is_some()
    }
}

/// The certificates of TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What is shown.
    pub files: CertificateFiles,
    /// What is wanted to be shown.
    pub clients: Clients,
}

pub(super) const KEYS: &[&str] = &[
    "http.body_limit_bytes",
    "http.connections",
    "http.connections_per_peer",
    "http.header_timeout_seconds",
    "http.body_timeout_seconds",
    "http.handshake_timeout_seconds",
    "http.handshakes",
    "http.requests_per_second",
    "http.require_token",
    "http.socket_scope",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.client_certificates",
];

const SCOPES: &[(&str, Scope)] = &[
    ("read", Scope::Read),
    ("operate", Scope::Operate),
    ("admin", Scope::Admin),
];
/// Which of [`Clients`] a file of authorities makes.
type Wanted = fn(PathBuf) -> Clients;

const CLIENTS: &[(&str, Wanted)] = &[("optional", Clients::Optional), ("required", Clients::Required)];

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Http> {
    let body_limit = reader.number("http.body_limit_bytes", 1 << 20, 1024..=64 << 20);
    let limits = limits(reader);
    let rate = reader.number("http.requests_per_second", 500, 1..=100_000);
    let require_token = reader.switch("http.require_token", false);
    let socket_scope = reader.choice("http.socket_scope", "admin", SCOPES);
    let tls = tls(reader);
    Some(Http {
        body_limit: Bytes(body_limit?),
        limits: limits?,
        requests_per_second: u32::try_from(rate?).expect("the range fits"),
        require_token: require_token?,
        socket_scope: socket_scope?,
        tls: tls?,
    })
}

fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let usual = Limits::default();
    let connections = reader.count("http.connections", 2048, 1..=65_536);
    let per_peer = reader.count("http.connections_per_peer", 512, 1..=65_536);
    let header_timeout = reader.seconds("http.header_timeout_seconds", 30, 1..=300);
    let body_timeout = reader.seconds("http.body_timeout_seconds", 60, 1..=3600);
    let handshake_timeout = reader.seconds("http.handshake_timeout_seconds", 10, 1..=300);
    let handshakes = reader.count("http.handshakes", 64, 1..=4096);
    Some(Limits {
        connections: connections?,
        connections_per_peer: per_peer?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        handshake_timeout: handshake_timeout?,
        handshakes: handshakes?,
        ..usual
    })
}

fn tls(reader: &mut Reader<'_>) -> Option<Option<Tls>> {
    const BOTH: &str = "the other of `tls.certificate` and `tls.key` is given: TLS needs both";
    let certificate: Option<PathBuf> = reader.optional_path("tls.certificate")?;
    let key = reader.optional_path("tls.key")?;
    let authority = reader.optional_path("tls.client_ca")?;
    let wanted = reader.choice("tls.client_certificates", "optional", CLIENTS)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Some(Tls {
            files: CertificateFiles { certificate, key },
            clients: authority.map_or(Clients::Unasked, wanted),
        })),
        (None, None) => Some(None),
        (None, Some(_)) => {
            reader.missing("tls.certificate", BOTH);
            None
        }
        (Some(_), None) => {
            reader.missing("tls.key", BOTH);
            None
        }
    }
}
