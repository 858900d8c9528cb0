//! A request, before it is sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Method, Request};

use super::HttpError;

/// How careful one has to be with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Care {
    /// It only reads: sending it twice does no harm.
    Repeatable,
    /// It only reads, but a second time gives something else: a kept connection may be taken, nothing is repeated.
    Unrepeated,
    /// It changes something: it is sent once or not at all.
    Once,
}

/// A request to the host of a [`Channel`](super::Channel).
#[derive(Debug)]
pub(in super::super) struct Outgoing {
    method: Method,
    target: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Outgoing {
    /// A request without body for `target`: a path with its query, percent-encoded.
    pub(in super::super) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// With this header, too.
    pub(in super::super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body.
    pub(in super::super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn request(&self, authority: &str) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.target)
            .header(HOST, authority);
        for (name, value) in &self.headers {
            let mut value =
                HeaderValue::from_str(value).map_err(|error| HttpError::Request { source: error.into() })?;
            // Cookies are passwords for a while.
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request
            .body(Full::new(self.body.clone()))
            .map_err(|error| HttpError::Request { source: error.into() })
    }
}
