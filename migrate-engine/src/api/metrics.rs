//! `GET /metrics`: the transfers under way, and what has been since the process started, for Prometheus.
//!
//! Transfers that have ended are in the counters only, so that series do not pile up.

use std::fmt;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Api;
use super::transfers::doing;
use crate::model::JobStatus;
use crate::pipeline::{Board, Desk, Transfer};

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn serve(State(api): State<Api>) -> impl IntoResponse {
    let mut registry = Registry::with_prefix("migrate_engine");
    registry.register_collector(Box::new(Transfers(api.board)));
    if let Some(desk) = api.desk {
        registry.register_collector(Box::new(Jobs(desk)));
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes whatever is written to it");
    ([(CONTENT_TYPE, FORMAT)], text)
}

#[derive(Debug)]
struct Transfers(Board);

/// How many jobs stand how.
struct Jobs(Desk);

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs")
    }
}

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = match self.0.store().job_counts() {
            Ok(counts) => counts,
            Err(error) => {
                tracing::error!(%error, "cannot count jobs");
                return Ok(());
            }
        };
        let help = "Replications in the engine's records, by how they stand";
        let mut family = encoder.encode_descriptor("replications", help, None, MetricType::Gauge)?;
        for status in JobStatus::ALL {
            let count = counts
                .iter()
                .find(|(of, _)| *of == status)
                .map_or(0, |(_, count)| *count);
            let labels = [("status", status.as_str())];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// One number of a transfer under way; nothing where it is not known.
type Number = fn(&Transfer) -> Option<f64>;

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus has floats; 53 bits are 8 PiB"
)]
fn bytes(number: u64) -> Option<f64> {
    Some(number as f64)
}

const GAUGES: &[(&str, &str, Number)] = &[
    ("transfer_size_bytes", "Size of the virtual disk", |t| {
        bytes(t.progress.total_bytes)
    }),
    (
        "transfer_data_bytes",
        "Bytes that have to move, as far as that is known",
        |t| bytes(t.progress.data_bytes),
    ),
    ("transfer_data_done_bytes", "Of those, how many have moved", |t| {
        bytes(t.progress.data_done)
    }),
    ("transfer_written_bytes", "Written to the target as data", |t| {
        bytes(t.progress.bytes_written)
    }),
    (
        "transfer_rate_bytes_per_second",
        "Bytes of data per second, smoothed",
        |t| t.progress.rate,
    ),
    (
        "transfer_eta_seconds",
        "Time left for the data left at this rate",
        |t| t.progress.eta.map(|eta| eta.as_secs_f64()),
    ),
];

impl Collector for Transfers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut running = self.0.transfers();
        running.retain(|transfer| transfer.ended_at.is_none());
        for (name, help, number) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for transfer in &running {
                let Some(value) = number(transfer) else { continue };
                let labels = [
                    ("transfer", transfer.id.to_string()),
                    ("source", transfer.source.clone()),
                    ("disk", transfer.disk.clone()),
                    ("doing", doing(transfer.doing).to_owned()),
                ];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        self.encode_counts(encoder)
    }
}

impl Transfers {
    fn encode_counts(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        let ended = [("finished", counts.finished), ("broken_off", counts.broken_off)];
        let help = "Transfers that have ended, by how";
        let mut family = encoder.encode_descriptor("transfers_ended", help, None, MetricType::Counter)?;
        for (outcome, count) in ended {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, count) in [
            (
                "data_done_bytes",
                "Bytes of data that ended transfers have read",
                counts.data_done,
            ),
            (
                "written_bytes",
                "Bytes that ended transfers have written",
                counts.bytes_written,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(family)?;
        }
        Ok(())
    }
}
