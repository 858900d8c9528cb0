//! Where the service is, whom to believe to be it, and what lets us in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hyper::Uri;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::block::NbdTunnel;
use crate::model::Secret;
use crate::source::vsphere::{Trust, TrustError, client_config};

/// The port where the service hears workers, unless another is named.
pub const USUAL_PORT: u16 = 8443;

/// The service's address: `https://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// The text is no address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of the service: {why}; write `https://host` or `https://host:port`")]
pub struct ServiceAddressError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, ServiceAddressError> {
        parse(text).map_err(|why| ServiceAddressError {
            text: text.chars().take(200).collect(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<ServiceAddress, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
    if uri.scheme_str() != Some("https") {
        return Err("only https is spoken");
    }
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        return Err("a token is given in a file, and not in the address");
    }
    if !matches!(
        uri.path_and_query().map(|rest| rest.as_str()),
        None | Some("/" | "")
    ) {
        return Err("nothing follows the port");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "the host's name is none")?;
    Ok(ServiceAddress {
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(USUAL_PORT),
        name,
    })
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the service is reached. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub(super) address: ServiceAddress,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) token: Secret,
}

impl Access {
    /// The service at this address. Blocks on the file system.
    ///
    /// # Errors
    /// Where the certificates to trust cannot be read.
    pub fn new(address: ServiceAddress, trust: &Trust, token: Secret) -> Result<Self, TrustError> {
        if *trust == Trust::Skipped {
            tracing::warn!(service = %address,
                "the service's certificate is not verified: whoever is in between reads and changes every byte");
        }
        Ok(Self {
            address,
            tls: Arc::new(client_config(trust)?),
            token,
        })
    }

    pub(super) fn host(&self) -> (&str, u16) {
        (&self.address.host, self.address.port)
    }

    pub(super) fn server(&self) -> ServerName<'static> {
        self.address.name.clone()
    }

    pub(super) fn tunnel(&self, path: String) -> NbdTunnel {
        NbdTunnel {
            tls: Arc::clone(&self.tls),
            server: self.server(),
            authority: self.address.to_string(),
            path,
            token: self.token.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("https://appliance", "appliance:8443"),
            ("https://appliance:9443/", "appliance:9443"),
            ("https://[fd00::1]:1", "[fd00::1]:1"),
            ("https://192.0.2.7", "192.0.2.7:8443"),
        ] {
            assert_eq!(text.parse::<ServiceAddress>().unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("http://appliance", "only https"),
            ("appliance", "only https"),
            ("https://", "no URL"),
            ("https://me:pw@appliance", "in a file"),
            ("https://appliance/api", "nothing follows"),
        ] {
            let error = text.parse::<ServiceAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
