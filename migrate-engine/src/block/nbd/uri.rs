//! NBD addresses: `nbd://host[:port]/export` and `nbd+unix:///export?socket=path`; over TLS `nbds://` and `nbds+unix://`,
//! with `tls-certificates=folder` and `tls-hostname=name` where the defaults will not do (source: the NBD URI specification,
//! `doc/uri.md`, and libnbd's parameters).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The registered port.
pub const DEFAULT_PORT: u16 = 10809;
/// The protocol's longest string.
const LONGEST_EXPORT: usize = 4096;
/// What fits `sockaddr_un`, with its final zero.
const LONGEST_SOCKET: usize = 107;

/// Where an export is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NbdUri {
    /// How to reach the server.
    pub endpoint: NbdEndpoint,
    /// The export's name; empty for the server's default.
    pub export: String,
    /// Whether, and how, the connection is encrypted. One that is to be encrypted never goes on without.
    pub tls: Option<NbdTls>,
}

/// How a connection over TLS is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NbdTls {
    /// A folder with `ca-cert.pem`, whom to trust, and where the server asks for it `client-cert.pem` and `client-key.pem`.
    /// Without it the system's certificates are trusted.
    pub certificates: Option<PathBuf>,
    /// The name that the server's certificate must have: by default the host's, of a Unix socket `localhost`.
    pub hostname: Option<String>,
}

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NbdEndpoint {
    /// By TCP.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// By a Unix socket.
    Unix {
        /// The socket's path.
        socket: PathBuf,
    },
}

/// Why a text is not an address that we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NbdUriError {
    /// No `scheme://`, or one that is not NBD's.
    #[error(
        "not an NBD address: it starts neither with nbd:// or nbds:// nor with nbd+unix:// or nbds+unix://"
    )]
    Scheme,
    /// A user name, which only TLS with pre-shared keys uses.
    #[error(
        "a user name in an NBD address is for TLS with pre-shared keys, which is not supported; use certificates"
    )]
    UserName,
    /// No host, or one that cannot be one.
    #[error("bad host in the NBD address")]
    Host,
    /// Not a port.
    #[error("bad port in the NBD address: {port:?}")]
    Port {
        /// What stood there.
        port: String,
    },
    /// `nbd+unix` without `?socket=`.
    #[error("the NBD address names no socket (?socket=path)")]
    NoSocket,
    /// A socket path that is empty, too long, or not possible.
    #[error("bad socket path in the NBD address")]
    Socket,
    /// A host in an `nbd+unix` address.
    #[error("an nbd+unix address has no host; write nbd+unix:///export?socket=path")]
    HostOfSocket,
    /// A parameter that we do not know.
    #[error("unknown parameter {name:?} in the NBD address")]
    Parameter {
        /// Its name.
        name: String,
    },
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("bad percent-encoding in the NBD address")]
    Encoding,
    /// A name that the protocol cannot carry.
    #[error("bad export name in the NBD address")]
    Export,
    /// `#…`, which has no meaning here.
    #[error("an NBD address has no fragment (#)")]
    Fragment,
}

impl FromStr for NbdUri {
    type Err = NbdUriError;

    fn from_str(text: &str) -> Result<Self, NbdUriError> {
        let (scheme, rest) = text.split_once("://").ok_or(NbdUriError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if rest.contains('#') {
            return Err(NbdUriError::Fragment);
        }
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut given = parameters(query)?;
        let socket = given.socket.take();
        let (endpoint, is_encrypted) = match scheme.as_str() {
            "nbd" | "nbd+tcp" => (tcp(authority, socket)?, false),
            "nbds" | "nbds+tcp" => (tcp(authority, socket)?, true),
            "nbd+unix" => (unix(authority, socket)?, false),
            "nbds+unix" => (unix(authority, socket)?, true),
            _ => return Err(NbdUriError::Scheme),
        };
        Ok(Self {
            endpoint,
            export: export_name(path)?,
            tls: given.tls(is_encrypted)?,
        })
    }
}

#[derive(Default)]
struct Parameters {
    socket: Option<String>,
    certificates: Option<String>,
    hostname: Option<String>,
}

fn parameters(query: Option<&str>) -> Result<Parameters, NbdUriError> {
    let mut given = Parameters::default();
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "socket" => &mut given.socket,
            "tls-certificates" => &mut given.certificates,
            "tls-hostname" => &mut given.hostname,
            _ => return Err(unknown(name)),
        };
        if place.is_some() {
            return Err(unknown(name));
        }
        *place = Some(decode(value)?);
    }
    Ok(given)
}

fn unknown(name: &str) -> NbdUriError {
    NbdUriError::Parameter {
        name: name.chars().take(64).collect(),
    }
}

impl Parameters {
    fn tls(self, is_encrypted: bool) -> Result<Option<NbdTls>, NbdUriError> {
        let unfit = |text: &String| text.is_empty() || text.contains('\0');
        for (name, value) in [
            ("tls-certificates", &self.certificates),
            ("tls-hostname", &self.hostname),
        ] {
            if value.as_ref().is_some_and(|value| !is_encrypted || unfit(value)) {
                return Err(unknown(name));
            }
        }
        Ok(is_encrypted.then(|| NbdTls {
            certificates: self.certificates.map(PathBuf::from),
            hostname: self.hostname,
        }))
    }
}

fn tcp(authority: &str, socket: Option<String>) -> Result<NbdEndpoint, NbdUriError> {
    if socket.is_some() {
        return Err(NbdUriError::Parameter {
            name: "socket".to_owned(),
        });
    }
    if authority.contains('@') {
        return Err(NbdUriError::UserName);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(NbdUriError::Host)?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| NbdUriError::Host)?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or(NbdUriError::Host)?)
            };
            (host.to_owned(), port)
        }
        None => {
            let (host, port) = authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port)));
            (name(host)?, port)
        }
    };
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(number) if number != 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => {
                // Before an `@` stands who asks, with a password: that is not told.
                let told = port.rsplit('@').next().unwrap_or_default();
                return Err(NbdUriError::Port {
                    port: told.chars().take(64).collect(),
                });
            }
        },
    };
    Ok(NbdEndpoint::Tcp { host, port })
}

/// A host's name. What would end it in an address cannot be in it, however it was written.
fn name(text: &str) -> Result<String, NbdUriError> {
    let name = decode(text)?;
    let is_fine = |c: char| c.is_alphanumeric() || "-._".contains(c);
    match !name.is_empty() && name.chars().all(is_fine) {
        true => Ok(name),
        false => Err(NbdUriError::Host),
    }
}

fn unix(authority: &str, socket: Option<String>) -> Result<NbdEndpoint, NbdUriError> {
    if !authority.is_empty() {
        return Err(NbdUriError::HostOfSocket);
    }
    let socket = socket.ok_or(NbdUriError::NoSocket)?;
    if socket.is_empty() || socket.len() > LONGEST_SOCKET || socket.contains('\0') {
        return Err(NbdUriError::Socket);
    }
    Ok(NbdEndpoint::Unix {
        socket: PathBuf::from(socket),
    })
}

fn export_name(path: &str) -> Result<String, NbdUriError> {
    let export = decode(path)?;
    if export.len() > LONGEST_EXPORT || export.contains('\0') {
        return Err(NbdUriError::Export);
    }
    Ok(export)
}

fn decode(text: &str) -> Result<String, NbdUriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(NbdUriError::Encoding);
        };
        bytes.push((digit(*high)? << 4) | digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| NbdUriError::Encoding)
}

fn digit(character: u8) -> Result<u8, NbdUriError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err(NbdUriError::Encoding),
    }
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~/".contains(character) {
            out.push(character);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl fmt::Display for NbdEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { socket } => write!(f, "{}", socket.display()),
        }
    }
}

impl fmt::Display for NbdUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, export) = (
            if self.tls.is_some() { "nbds" } else { "nbd" },
            encode(&self.export),
        );
        let mut parameters = Vec::new();
        match &self.endpoint {
            tcp @ NbdEndpoint::Tcp { .. } => write!(f, "{scheme}://{tcp}/{export}")?,
            NbdEndpoint::Unix { socket } => {
                parameters.push(("socket", socket.to_string_lossy().into_owned()));
                write!(f, "{scheme}+unix:///{export}")?;
            }
        }
        let NbdTls {
            certificates,
            hostname,
        } = self.tls.clone().unwrap_or_default();
        parameters
            .extend(certificates.map(|folder| ("tls-certificates", folder.to_string_lossy().into_owned())));
        parameters.extend(hostname.map(|name| ("tls-hostname", name)));
        for (at, (name, value)) in parameters.iter().enumerate() {
            let before = if at == 0 { '?' } else { '&' };
            write!(f, "{before}{name}={}", encode(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
