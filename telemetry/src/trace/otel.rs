//! With the feature `otel`: spans as OpenTelemetry has them.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use super::{Traces, none, otlp};
use crate::log::is_span_of_ours;

/// Which trace some work belongs to. Kept in memory only: work that goes on after a restart begins a trace of its own.
#[derive(Debug, Clone, Default)]
pub struct Context(opentelemetry::Context);

struct Reader<'h>(&'h HeaderMap);

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Writer<'h>(&'h mut HeaderMap);

impl Injector for Writer<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl Context {
    /// That of the present span.
    #[must_use]
    pub fn current() -> Self {
        Self(Span::current().context())
    }

    /// The one that a request's headers tell; none where they tell nothing that makes sense.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Self {
        Self(TraceContextPropagator::new().extract(&Reader(headers)))
    }

    /// Writes it into a request's headers, where it is one.
    pub fn write(&self, headers: &mut HeaderMap) {
        TraceContextPropagator::new().inject_context(&self.0, &mut Writer(headers));
    }

    /// Makes `span` a part of it, where it is one. Before the span is entered.
    pub fn adopt(&self, span: &Span) {
        if self.0.span().span_context().is_valid() {
            // A span that is not told of has no place in a trace.
            let _ = span.set_parent(self.0.clone());
        }
    }
}

/// Sends what is left when it is dropped.
pub(super) struct Sending(Option<SdkTracerProvider>);

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(provider) = self.0.take() else { return };
        // The exporter needs the runtime's threads while this one waits for it.
        if let Err(error) = provider.shutdown() {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

pub(super) fn layer(traces: &Traces) -> (Box<dyn Layer<Registry> + Send + Sync>, super::Sending) {
    let nothing = |refused| {
        let _how = Sending(None);
        (none(), super::Sending { refused, _how })
    };
    let Some(endpoint) = &traces.endpoint else {
        return nothing(None);
    };
    let provider = match otlp::provider(traces.service, endpoint) {
        Ok(provider) => provider,
        Err(why) => return nothing(Some(format!("traces are not sent to {endpoint}: {why}"))),
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(traces.service))
        .with_location(false)
        .with_threads(false)
        .with_filter(filter_fn(is_span_of_ours));
    let _how = Sending(Some(provider));
    (Box::new(spans), super::Sending { refused: None, _how })
}
