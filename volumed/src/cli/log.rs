//! The log of this program, and its traces, as the configuration has them.

use telemetry::log::LogFormat as Lines;
use telemetry::trace::{Sending, Traces};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging, and sending spans where a collector is named. Inside of a runtime. Repeating it changes nothing.
pub(super) fn start(log: Log) -> Sending {
    let format = match log.format {
        LogFormat::Text => Lines::Text,
        LogFormat::Json => Lines::Json,
    };
    let traces = Traces::from_env("volumed");
    telemetry::log::start(format, EnvFilter::new(log.level.as_str()), &traces)
}
