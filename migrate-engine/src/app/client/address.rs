//! Where the service is: on the loopback, as the token travels in the clear.

use std::net::IpAddr;

use reqwest::Url;

use super::ClientError;

/// Reads `http://HOST:PORT`.
pub(super) fn parse(text: &str) -> Result<Url, ClientError> {
    let bad = |why: &str| ClientError::Address {
        // A password in it is not repeated.
        url: super::super::plain::plain(text.rsplit('@').next().unwrap_or_default()),
        why: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    match () {
        () if url.scheme() != "http" => Err(bad("only http:// is spoken")),
        () if !is_bare || !url.username().is_empty() || url.password().is_some() => {
            Err(bad("write http://HOST:PORT and nothing more"))
        }
        () if !is_loopback(&url) => Err(bad(
            "it is not on this machine, and the token would travel in the clear",
        )),
        () => Ok(url),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
