//! The log: standard error, as text for people, one JSON object a line for programs, or as journald likes it.
//!
//! Each line says which request and which work it belongs to: the spans around it are told also where lines of their level are
//! not, as a warning without its request cannot be followed.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, FilterFn, filter_fn};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::trace::{self, Traces};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; where standard error is journald's, without the time and with the level that it understands.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The crates whose spans are told whatever the level of lines.
const OURS: [&str; 5] = [
    "volumed",
    "migrate_engine",
    "volume_client",
    "nbd_export",
    "telemetry",
];

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging what `filter` lets through, and sending spans where `traces` says. Repeating it changes nothing. What it returns
/// sends the last spans when it is dropped; inside of a Tokio runtime, where spans are to be sent.
pub fn start(format: LogFormat, filter: EnvFilter, traces: &Traces) -> trace::Sending {
    let (spans, sending) = trace::layer(traces);
    let lines = lines(format).with_filter(filter.or(spans_of_ours()));
    // The first layer is below the others, which the boxed types need to agree on.
    let started = Registry::default().with(vec![lines.boxed(), spans]).try_init();
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    if let Some(refused) = &sending.refused {
        tracing::warn!("{refused}");
    }
    sending
}

fn lines(format: LogFormat) -> Lines {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text if is_journal() => {
            let inner = tracing_subscriber::fmt::format().without_time();
            lines.with_ansi(false).event_format(Journal(inner)).boxed()
        }
        LogFormat::Text => lines.boxed(),
    }
}

/// Spans that say whose work a line is about.
fn spans_of_ours() -> FilterFn {
    filter_fn(is_span_of_ours)
}

pub(crate) fn is_span_of_ours(metadata: &Metadata<'_>) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && *metadata.level() <= Level::INFO && OURS.contains(&name)
}

/// Whether standard error goes to the journal. Source: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| said == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Puts the priority before each line, as sd-daemon(3) says; the journal keeps the time itself.
struct Journal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        self.0.format_event(cx, writer, event)
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    #[test]
    fn a_warning_names_the_request_although_lines_of_its_level_are_not_told() {
        let page = Page::default();
        let writer = page.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false);
        let filter = EnvFilter::new("warn").or(spans_of_ours());
        let subscriber = Registry::default().with(lines.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!(target: "volumed::api", "request", request_id = "r-1");
            let _entered = span.enter();
            tracing::info!(target: "volumed", "not told");
            tracing::warn!(target: "volumed", "told");
        });
        let text = page.text();
        assert!(
            text.contains("request{request_id=\"r-1\"}") && text.contains("told"),
            "{text}"
        );
        assert!(!text.contains("not told"), "{text}");
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let page = Page::default();
        let writer = page.clone();
        let inner = tracing_subscriber::fmt::format().without_time();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Journal(inner));
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            tracing::error!(target: "volumed", "it burns");
        });
        assert_eq!(page.text(), "<3>ERROR volumed: it burns\n");
    }
}
