//! An HTTP client for tests, which ask in the clear.

use volume_client::client::trust::nobody;

/// A client that uses no proxy and follows no redirect.
///
/// # Panics
/// Where no HTTP client can be made.
#[must_use]
pub fn plain_http() -> reqwest::Client {
    let http = volume_client::client::http(nobody()).build();
    http.expect("an HTTP client can be made")
}
