//! Traces: spans of ours sent to an OpenTelemetry collector, and the W3C trace context that joins those of several processes.
//!
//! Without the feature `otel`, or where no collector is named, nothing is sent and no header is written; a program says the same
//! in both cases.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "otel")]
mod otlp;

use tracing_subscriber::{Layer, Registry};

#[cfg(not(feature = "otel"))]
use off as how;
#[cfg(feature = "otel")]
use otel as how;

pub use how::Context;

/// The header of W3C's Trace Context.
pub const TRACEPARENT: &str = "traceparent";

/// Where spans are sent, and as whose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// The program's name in the traces.
    pub service: &'static str,
    /// The collector's base address, `http://HOST:PORT`; nowhere where absent.
    pub endpoint: Option<String>,
}

impl Traces {
    /// What the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT`. Source: the OpenTelemetry specification, "OTLP exporter".
    #[must_use]
    pub fn from_env(service: &'static str) -> Self {
        let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
        Self {
            service,
            endpoint: endpoint.filter(|endpoint| !endpoint.is_empty()),
        }
    }
}

/// Sends the last spans when it is dropped.
#[must_use]
pub struct Sending {
    /// Why spans are not sent although they should be.
    pub(crate) refused: Option<String>,

    _how: how::Sending,
}

/// A layer that takes no notice of anything.
fn none() -> Box<dyn Layer<Registry> + Send + Sync> {
    Box::new(tracing_subscriber::layer::Identity::new())
}

pub(crate) fn layer(traces: &Traces) -> (Box<dyn Layer<Registry> + Send + Sync>, Sending) {
    how::layer(traces)
}
