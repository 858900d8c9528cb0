//! Where an export is reached: an address and a name.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use crate::{ExportName, Tls};

/// An address an NBD server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NbdAddress {
    /// TCP; port 10809 is NBD's own.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Default for NbdAddress {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 10809)))
    }
}

impl NbdAddress {
    /// The address to dial: a server on "any address" is reached over loopback.
    #[must_use]
    pub fn dial(&self) -> Self {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                let loopback: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                Self::Tcp(SocketAddr::new(loopback, address.port()))
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for NbdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One export at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NbdEndpoint {
    /// Address to dial.
    pub address: NbdAddress,
    /// Name to ask for.
    pub name: ExportName,
    /// Whether clients must encrypt.
    pub encryption: Encryption,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// In the clear.
    None,
    /// By TLS, with certificates or keys.
    Tls,
}

impl NbdEndpoint {
    /// An export of a server that listens there, with TLS or without.
    pub(crate) fn served(listen: &NbdAddress, tls: Option<&Tls>, name: &ExportName) -> Self {
        Self {
            address: listen.dial(),
            name: name.clone(),
            encryption: match tls {
                None => Encryption::None,
                Some(_) => Encryption::Tls,
            },
        }
    }

    /// The NBD URI: `nbd://host:port/name` or `nbd+unix:///name?socket=/path`; with TLS `nbds…`. What a client proves itself with
    /// is its own to add.
    #[must_use]
    pub fn uri(&self) -> String {
        let scheme = match self.encryption {
            Encryption::None => "nbd",
            Encryption::Tls => "nbds",
        };
        match &self.address {
            NbdAddress::Tcp(address) => format!("{scheme}://{address}/{}", self.name),
            NbdAddress::Unix(path) => {
                format!("{scheme}+unix:///{}?socket={}", self.name, percent_encoded(path))
            }
        }
    }
}

fn percent_encoded(path: &std::path::Path) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(String::new(), |mut out, &byte| {
            if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_both_kinds() {
        let name = ExportName::new("vol-1").unwrap();
        let tcp = NbdEndpoint {
            address: NbdAddress::default(),
            name: name.clone(),
            encryption: Encryption::None,
        };
        assert_eq!(tcp.uri(), "nbd://127.0.0.1:10809/vol-1");
        let unix = NbdEndpoint {
            address: NbdAddress::Unix("/run/a b/s&x".into()),
            name,
            encryption: Encryption::Tls,
        };
        assert_eq!(unix.uri(), "nbds+unix:///vol-1?socket=/run/a%20b/s%26x");
    }

    #[test]
    fn any_address_is_dialled_over_loopback() {
        let any = NbdAddress::Tcp("0.0.0.0:9".parse().unwrap());
        assert_eq!(any.dial(), NbdAddress::Tcp("127.0.0.1:9".parse().unwrap()));
    }
}
