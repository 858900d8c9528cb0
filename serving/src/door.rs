//! Where a service is reached: on this machine in the clear, from elsewhere over TLS only.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Certificate, Listener, is_loopback};

/// A socket that is listened on, and how whoever comes is met.
#[derive(Debug)]
pub struct Door {
    pub(crate) listener: Listener,
    pub(crate) tls: Option<Arc<Certificate>>,
}

/// An address that is not served in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot serve on {0} in the clear: only on the loopback, such as 127.0.0.1:{port}; any other address needs TLS and tokens", port = .0.port())]
pub struct NotLoopback(pub SocketAddr);

impl Door {
    /// The address, where it is one of TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// For who is on this machine, in the clear: a Unix socket, or an address of the loopback.
    ///
    /// # Errors
    /// An address that others can reach.
    pub fn near(listener: Listener) -> Result<Self, NotLoopback> {
        match listener.address() {
            Some(address) if !is_loopback(address) => Err(NotLoopback(address)),
            _ => Ok(Self { listener, tls: None }),
        }
    }

    /// For who is anywhere: over TLS, wherever that is.
    #[must_use]
    pub fn far(listener: Listener, certificate: &Arc<Certificate>) -> Self {
        Self {
            listener,
            tls: Some(Arc::clone(certificate)),
        }
    }

    /// In the clear on this machine, over TLS elsewhere.
    ///
    /// # Errors
    /// An address that others can reach, without a certificate.
    pub fn guarded(listener: Listener, certificate: Option<&Arc<Certificate>>) -> Result<Self, NotLoopback> {
        match (listener.address(), certificate) {
            (Some(address), Some(certificate)) if !is_loopback(address) => {
                Ok(Self::far(listener, certificate))
            }
            _ => Self::near(listener),
        }
    }
}

/// The URL, or that it is a Unix socket.
impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.listener.address(), &self.tls) {
            (Some(address), Some(_)) => write!(f, "https://{address}"),
            (Some(address), None) => write!(f, "http://{address}"),
            (None, _) => f.write_str("a Unix socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_elsewhere_is_not_served_in_the_clear() {
        let everywhere = || Listener::tcp("0.0.0.0:0".parse().unwrap()).unwrap();
        let error = Door::near(everywhere()).unwrap_err();
        assert!(error.to_string().contains("only on the loopback"), "{error}");
        assert!(error.to_string().contains("TLS and tokens"), "{error}");
        assert!(Door::guarded(everywhere(), None).is_err());
        let here = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let door = Door::guarded(here, None).unwrap();
        assert!(door.to_string().starts_with("http://127.0.0.1:"), "{door}");
    }
}
