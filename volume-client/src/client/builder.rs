//! How a client is set up: where the daemon is, how long to wait for it, how often to try.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use super::trust::{self, Identity, Trust};
use super::{ClientError, VolumedClient};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/volumed/volumed.sock";

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
    ca_file: Option<PathBuf>,
    fingerprint: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
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
            ca_file: None,
            fingerprint: None,
            certificate: None,
            key: None,
        }
    }
}

impl ClientBuilder {
    /// The daemon listens on this Unix socket.
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.address = Address::Unix(path.into());
        self
    }

    /// The daemon listens at this address: `https://` wherever that is, or `http://` on this machine, as the bytes travel in the
    /// clear then.
    pub fn http(mut self, url: impl Into<String>) -> Self {
        self.address = Address::Url(url.into());
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

    /// Over TLS, whoever an authority of this PEM file vouches for is believed to be the daemon; else whoever an authority of the
    /// system vouches for.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Over TLS, whoever has the certificate of this SHA-256 fingerprint is believed to be the daemon, and nobody else.
    pub fn fingerprint(mut self, text: impl Into<String>) -> Self {
        self.fingerprint = Some(text.into());
        self
    }

    /// Over TLS, this certificate and its key (PEM) are shown to the daemon.
    pub fn certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.certificate, self.key) = (Some(certificate.into()), Some(key.into()));
        self
    }

    /// Takes the address from `VOLUMED_URL`, else `VOLUMED_SOCKET`; keeps the present one if neither is set. What goes with it
    /// over TLS is taken from `VOLUMED_TOKEN_FILE`, `VOLUMED_CA_FILE`, `VOLUMED_FINGERPRINT`, `VOLUMED_CERTIFICATE` and
    /// `VOLUMED_KEY`, where those are set.
    pub fn from_env(mut self) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let path = |name| set(name).map(PathBuf::from);
        self.token_file = path("VOLUMED_TOKEN_FILE").or(self.token_file);
        self.ca_file = path("VOLUMED_CA_FILE").or(self.ca_file);
        self.certificate = path("VOLUMED_CERTIFICATE").or(self.certificate);
        self.key = path("VOLUMED_KEY").or(self.key);
        let fingerprint = set("VOLUMED_FINGERPRINT").map(|text| text.to_string_lossy().into_owned());
        self.fingerprint = fingerprint.or(self.fingerprint);
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
        let tls = match self.address.socket() {
            Some(_) => trust::nobody(),
            None => self.tls()?,
        };
        let mut http = super::http(tls)
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!("volume-client/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.token_file {
            let header = bearer(path).map_err(|reason| bad(&path.display().to_string(), reason))?;
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)]));
        }
        let target = self.address.shown();
        let base = self.address.base().map_err(|reason| bad(&target, reason))?;
        if let Some(path) = self.address.socket() {
            http = http.unix_socket(path);
        }
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

impl ClientBuilder {
    /// Whom to believe to be the daemon, and who we are there. Blocks on the file system.
    fn tls(&self) -> Result<ClientConfig, ClientError> {
        let bad = |target: &str, reason: String| ClientError::BadAddress {
            target: target.to_owned(),
            reason,
        };
        let trust = match (&self.ca_file, &self.fingerprint) {
            (Some(_), Some(text)) => {
                return Err(bad(
                    text,
                    "give an authority or a fingerprint, and not both".to_owned(),
                ));
            }
            (Some(path), None) => Trust::CaFile(path.clone()),
            (None, Some(text)) => Trust::Pinned(text.parse().map_err(|error| bad(text, format!("{error}")))?),
            (None, None) => Trust::SystemRoots,
        };
        let made = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => trust::client_config_as(
                &trust,
                &Identity {
                    certificate: certificate.clone(),
                    key: key.clone(),
                },
            ),
            (None, None) => trust::client_config(&trust),
            (Some(one), None) | (None, Some(one)) => {
                let reason = "a certificate goes with its key: give both".to_owned();
                return Err(bad(&one.display().to_string(), reason));
            }
        };
        made.map_err(|error| bad(&error.place, error.source.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_unless_the_caller_vouches() {
        for good in [
            "http://127.0.0.1:8090",
            "http://localhost:1/",
            "http://[::1]:8090",
            "https://10.0.0.1:8090",
        ] {
            VolumedClient::http(good).unwrap();
        }
        for bad in [
            "http://10.0.0.1:8090",
            "http://localhost.example:1",
            "http://127.0.0.1/api",
            "http://user:secret@127.0.0.1/",
            "https://10.0.0.1:8090/api",
            "ftp://127.0.0.1",
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
    fn whom_to_believe_is_said_once_and_well() {
        let builder = || VolumedClient::builder().http("https://10.0.0.1");
        for (wrong, word) in [
            (builder().ca_file("/nowhere.pem"), "/nowhere.pem"),
            (builder().fingerprint("AB:CD"), "SHA-256"),
            (builder().fingerprint("AB:CD").ca_file("/x"), "not both"),
            (builder().certificate("/nowhere.pem", "/key.pem"), "/nowhere.pem"),
        ] {
            let error = wrong.build().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        builder().fingerprint("ab".repeat(32)).build().unwrap();
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
