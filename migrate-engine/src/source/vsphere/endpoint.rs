//! Where a vCenter or a host answers: its name and its port.

use std::fmt;
use std::str::FromStr;

const HTTPS: u16 = 443;

/// The address of a vCenter or a stand-alone host. Read from `host`, `host:port`, `https://host` or
/// `https://host/sdk`; always TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// The text is no address of a vCenter or a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address of a vCenter or an ESXi host: {why}; write `host`, `host:port` or `https://host/sdk`"
)]
pub struct EndpointParseError {
    /// What was given, without anything that could be a password.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Endpoint {
    /// The host's name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 443 unless another was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => return Err("only https is spoken"),
            None => text,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path.trim_end_matches('/'), "" | "sdk") {
            return Err("the path can only be /sdk");
        }
        if authority.contains('@') {
            return Err("user name and password are given apart");
        }
        let (host, port) = host_and_port(authority)?;
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_fine) {
            return Err("the host's name is missing or holds characters that no name has");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

fn host_and_port(authority: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a bracket is not closed")?;
        match port {
            "" => (host, None),
            _ => (
                host,
                Some(port.strip_prefix(':').ok_or("after the bracket comes a colon")?),
            ),
        }
    } else if authority.matches(':').count() > 1 {
        (authority, None)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    match port.map(str::parse::<u16>) {
        None => Ok((host, HTTPS)),
        Some(Ok(port)) if port > 0 => Ok((host, port)),
        Some(_) => Err("the port is no number from 1 to 65535"),
    }
}

impl FromStr for Endpoint {
    type Err = EndpointParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.trim()).map_err(|why| {
            let shown = text.rsplit('@').next().unwrap_or_default();
            EndpointParseError {
                text: shown.chars().take(120).flat_map(char::escape_debug).collect(),
                why,
            }
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            write!(f, "{}", self.host)?;
        }
        match self.port {
            HTTPS => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, u16)> {
        let endpoint: Endpoint = text.parse().ok()?;
        Some((endpoint.host().to_owned(), endpoint.port()))
    }

    #[test]
    fn every_way_to_write_an_address_is_read() {
        let is = |text, host: &str, port| assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
        is("vcenter.example", "vcenter.example", 443);
        is(" vcenter.example:8443 ", "vcenter.example", 8443);
        is("https://10.0.0.7/sdk", "10.0.0.7", 443);
        is("HTTPS://10.0.0.7:8989/sdk/", "10.0.0.7", 8989);
        is("https://host/", "host", 443);
        is("fe80::1", "fe80::1", 443);
        is("[fe80::1]:444", "fe80::1", 444);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "http://host",
            "host:0",
            "host:70000",
            "host:x",
            "https://host/ui",
            "a b",
            "[::1",
            "[::1]x",
            "host\r\nX: y",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_not_repeated() {
        let error = "https://root:secret@host".parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn it_is_shown_as_it_stands_in_a_header() {
        let shown = |text: &str| text.parse::<Endpoint>().unwrap().to_string();
        assert_eq!(shown("https://host/sdk"), "host");
        assert_eq!(shown("host:8989"), "host:8989");
        assert_eq!(shown("[::1]:8989"), "[::1]:8989");
    }
}
