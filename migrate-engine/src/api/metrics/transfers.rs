//! The transfers in numbers: those under way, and what all of them have moved since the process started.
//!
//! Transfers that have ended are in the counters only, so that series do not pile up.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::api::transfers::doing;
use crate::pipeline::{Board, Doing, Moved, Transfer};

#[derive(Debug)]
pub(super) struct Transfers(pub(super) Board);

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
        for (name, help, number) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for kind in [Doing::Copying, Doing::ReadingBack] {
                let labels = [("doing", doing(kind))];
                ConstCounter::new(number(self.0.moved(kind))).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// One sum over all transfers of a kind.
type Sum = fn(Moved) -> u64;

const COUNTERS: &[(&str, &str, Sum)] = &[
    (
        "read_bytes",
        "Bytes of data that transfers have read, those under way included",
        |m| m.read,
    ),
    ("written_bytes", "Bytes of data that they have written", |m| {
        m.written
    }),
    (
        "skipped_bytes",
        "Bytes that nobody had to read: announced zeroes, and what an interrupted run had moved",
        |m| m.skipped,
    ),
];
