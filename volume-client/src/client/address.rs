//! Where the daemon is: a Unix socket, an address of this machine, or one that is reached over TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

/// `sun_path` holds 108 bytes with its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// Where the daemon is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// Its socket.
    Unix(PathBuf),
    /// `https://…`, or `http://…` of this machine.
    Url(String),
    /// `http://…`, wherever that is: the caller vouches for the way there.
    Remote(String),
}

impl Address {
    /// As people are told of it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Url(url) | Self::Remote(url) => url.clone(),
        }
    }

    /// The socket, where it is one.
    pub(super) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Url(_) | Self::Remote(_) => None,
        }
    }

    /// Where paths are joined to; or what is wrong with it.
    pub(super) fn base(&self) -> Result<Url, String> {
        match self {
            Self::Unix(path) => match path.as_os_str().len() {
                1..=MAX_SOCKET_PATH => Ok(Url::parse("http://localhost/").expect("a constant URL")),
                _ => Err(format!("a socket's path has 1 to {MAX_SOCKET_PATH} bytes")),
            },
            Self::Url(text) => {
                let url = parse(text)?;
                match url.scheme() == "https" || is_loopback(&url) {
                    true => Ok(url),
                    false => Err("it is not a loopback address, and requests would travel in the clear: write https://".to_owned()),
                }
            }
            Self::Remote(text) => parse(text),
        }
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http:// and https:// are spoken".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("expected http://HOST:PORT or https://HOST:PORT and nothing more".to_owned());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
