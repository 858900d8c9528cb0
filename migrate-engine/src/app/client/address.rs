//! Where the service is: over TLS anywhere, in the clear on the loopback only, as the token travels with each request.

use std::net::IpAddr;

use reqwest::Url;

use super::ClientError;

/// Reads `http://HOST:PORT` or `https://HOST:PORT`.
pub(super) fn parse(text: &str) -> Result<Url, ClientError> {
    let bad = |why: &str| ClientError::Address {
        // A password in it is not repeated.
        url: super::super::plain::plain(text.rsplit('@').next().unwrap_or_default()),
        why: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    match () {
        () if !matches!(url.scheme(), "http" | "https") => Err(bad("only http:// and https:// are spoken")),
        () if !is_bare || !url.username().is_empty() || url.password().is_some() => {
            Err(bad("write https://HOST:PORT and nothing more"))
        }
        () if url.scheme() == "http" && !is_loopback(&url) => Err(bad(
            "it is not on this machine, and the token would travel in the clear: write https://",
        )),
        () => Ok(url),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
