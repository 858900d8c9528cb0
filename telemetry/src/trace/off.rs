//! Without the feature `otel`: spans are sent nowhere.

use http::HeaderMap;
use tracing::Span;
use tracing_subscriber::{Layer, Registry};

use super::{Traces, none};

/// Which trace some work belongs to: none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context;

impl Context {
    /// That of the present span.
    #[must_use]
    pub fn current() -> Self {
        Self
    }

    /// The one that a request's headers tell.
    #[must_use]
    pub fn of_headers(_headers: &HeaderMap) -> Self {
        Self
    }

    /// Writes it into a request's headers.
    pub fn write(&self, _headers: &mut HeaderMap) {}

    /// Makes `span` a part of it.
    pub fn adopt(&self, _span: &Span) {}
}

pub(super) type Sending = ();

pub(super) fn layer(traces: &Traces) -> (Box<dyn Layer<Registry> + Send + Sync>, super::Sending) {
    let refused = traces.endpoint.as_ref().map(|endpoint| {
        format!("traces are not sent to {endpoint}: this build has no OpenTelemetry; build it with `--features otel`")
    });
    (none(), super::Sending { refused, _how: () })
}
