//! How a client is set up: where the daemon is, how long to wait for it, how often to try.

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::{ClientError, VolumedClient};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/volumed/volumed.sock";

/// `sun_path` holds 108 bytes with its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// What every clone of a client shares.
#[derive(Debug)]
pub(super) struct Settings {
    /// The address for people.
    pub(super) target: String,
    /// Where paths are joined to.
    pub(super) base: Url,
    /// For one try, answer included.
    pub(super) request_timeout: Duration,
    /// How often a call is tried.
    pub(super) attempts: u32,
    /// Adds to the headers of each request.
    pub(super) headers: fn(&mut HeaderMap),
}

#[derive(Debug, Clone)]
enum Address {
    Unix(PathBuf),
    Loopback(String),
    Remote(String),
}

/// Builds a [`VolumedClient`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    address: Address,
    connect_timeout: Duration,
    request_timeout: Duration,
    attempts: u32,
    headers: fn(&mut HeaderMap),
    token_file: Option<PathBuf>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            address: Address::Unix(DEFAULT_SOCKET.into()),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            attempts: 4,
            headers: |_| {},
            token_file: None,
        }
    }
}

impl ClientBuilder {
    /// The daemon listens on this Unix socket.
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.address = Address::Unix(path.into());
        self
    }

    /// The daemon listens at this `http://` address, which must be a loopback one: the bytes travel in the clear.
    pub fn http(mut self, url: impl Into<String>) -> Self {
        self.address = Address::Loopback(url.into());
        self
    }

    /// The daemon listens at this `http://` address, wherever that is. The caller vouches for the way there.
    pub fn http_remote(mut self, url: impl Into<String>) -> Self {
        self.address = Address::Remote(url.into());
        self
    }

    /// The file with the token that is sent along; it is read when the client is built, and its text is shown nowhere.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Takes the address from `VOLUMED_URL` (loopback only), else `VOLUMED_SOCKET`; keeps the present one if
    /// neither is set. The file of the token is that of `VOLUMED_TOKEN_FILE`, where that is set.
    pub fn from_env(mut self) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        self.token_file = set("VOLUMED_TOKEN_FILE").map(PathBuf::from).or(self.token_file);
        if let Some(url) = set("VOLUMED_URL") {
            return self.http(url.to_string_lossy());
        }
        match set("VOLUMED_SOCKET") {
            Some(path) => self.unix(path),
            None => self,
        }
    }

    /// How long a connection may take to come about; 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one try may take, answer included; 30 s by default. Long polls get their waiting time on top.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How often a call is tried where repeating is safe; 4 by default, at least 1. The pauses between tries start
    /// at 100 ms and double up to 2 s.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Has `write` add to the headers of each request just before it is sent: a trace context, say. Called inside of the
    /// request's span; must not block.
    pub fn headers(mut self, write: fn(&mut HeaderMap)) -> Self {
        self.headers = write;
        self
    }

    /// The client. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] if the address is no usable one.
    pub fn build(self) -> Result<VolumedClient, ClientError> {
        let bad = |target: &str, reason: String| ClientError::BadAddress {
            target: target.to_owned(),
            reason,
        };
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!("volume-client/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.token_file {
            let header = bearer(path).map_err(|reason| bad(&path.display().to_string(), reason))?;
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)]));
        }
        let (target, base) = match &self.address {
            Address::Unix(path) => {
                let target = format!("unix:{}", path.display());
                if path.as_os_str().is_empty() || path.as_os_str().len() > MAX_SOCKET_PATH {
                    return Err(bad(
                        &target,
                        format!("a socket's path has 1 to {MAX_SOCKET_PATH} bytes"),
                    ));
                }
                http = http.unix_socket(path.clone());
                let base = Url::parse("http://localhost/").expect("a constant URL");
                (target, base)
            }
            Address::Loopback(url) => {
                let base = parse(url).map_err(|reason| bad(url, reason))?;
                if !is_loopback(&base) {
                    let reason = "it is not a loopback address, and requests travel in the clear";
                    return Err(bad(url, reason.to_owned()));
                }
                (url.clone(), base)
            }
            Address::Remote(url) => (url.clone(), parse(url).map_err(|reason| bad(url, reason))?),
        };
        let http = http.build().map_err(|e| bad(&target, e.to_string()))?;
        let inner = Arc::new(Settings {
            target,
            base,
            request_timeout: self.request_timeout,
            attempts: self.attempts,
            headers: self.headers,
        });
        Ok(VolumedClient {
            inner,
            http,
            key: None,
            request_id: None,
        })
    }
}

/// The header with the token of a file.
fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read the token: {error}"))?;
    let token = text.trim();
    let header = HeaderValue::from_str(&format!("Bearer {token}")).ok();
    let mut header = header
        .filter(|_| !token.is_empty())
        .ok_or("there is no token in it: write the one that `volumectl tokens create` printed")?;
    header.set_sensitive(true);
    Ok(header)
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    if url.scheme() != "http" {
        return Err("only http:// is spoken".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("expected http://HOST:PORT and nothing more".to_owned());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_unless_the_caller_vouches() {
        for good in [
            "http://127.0.0.1:8090",
            "http://localhost:1/",
            "http://[::1]:8090",
        ] {
            VolumedClient::http(good).unwrap();
        }
        for bad in [
            "http://10.0.0.1:8090",
            "http://localhost.example:1",
            "https://127.0.0.1",
            "http://127.0.0.1/api",
            "http://user:secret@127.0.0.1/",
            "127.0.0.1:8090",
        ] {
            assert!(VolumedClient::http(bad).is_err(), "{bad}");
        }
        VolumedClient::builder()
            .http_remote("http://10.0.0.1:8090")
            .build()
            .unwrap();
    }

    #[test]
    fn a_token_is_read_from_its_file_and_shown_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let build = || VolumedClient::builder().token_file(&path).build();
        assert!(
            build().unwrap_err().to_string().contains("token"),
            "it is not there"
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(build().is_err(), "it is empty");
        std::fs::write(&path, "volumed_0_hunter2\n").unwrap();
        assert!(!format!("{:?}", build().unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_socket_path_that_the_kernel_would_cut_is_refused() {
        VolumedClient::unix("/run/x.sock").unwrap();
        assert!(VolumedClient::unix("/".repeat(108)).is_err());
        assert!(VolumedClient::unix("").is_err());
    }
}
