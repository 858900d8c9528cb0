//! The replications in numbers, as the records have them, and the workers beside sources.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::{JobStatus, Step};
use crate::pipeline::Desk;
use crate::store::{Store, StoreError};

/// The replications, looked up whenever they are asked for.
pub(super) struct Jobs(pub(super) Desk);

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs")
    }
}

/// What the records say at one time.
struct Recorded {
    statuses: Vec<(JobStatus, i64)>,
    steps: Vec<(u8, u64)>,
    frozen: u64,
    frozen_since: Option<Timestamp>,
    oldest: Option<Timestamp>,
}

impl Recorded {
    fn read(store: &Store) -> Result<Self, StoreError> {
        let (frozen, frozen_since) = store.frozen()?;
        let unfinished = store.unfinished_jobs()?;
        let began = unfinished.iter().filter_map(|job| job.created_at.parse().ok());
        Ok(Self {
            statuses: store.job_counts()?,
            steps: store.steps_under_way()?,
            frozen,
            frozen_since,
            oldest: began.min(),
        })
    }
}

impl Collector for Jobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_attempts(&mut encoder)?;
        self.encode_workers(&mut encoder)?;
        match Recorded::read(self.0.store()) {
            Ok(recorded) => recorded.encode(&mut encoder),
            Err(error) => {
                tracing::error!(%error, "cannot count jobs");
                Ok(())
            }
        }
    }
}

impl Jobs {
    fn encode_attempts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Attempts at replications that have ended since the process started, by how";
        let mut family =
            encoder.encode_descriptor("replication_attempts", help, None, MetricType::Counter)?;
        for (outcome, count) in self.0.attempts() {
            ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }

    fn encode_workers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let workers = self.0.workers();
        if workers.is_empty() {
            return Ok(());
        }
        let help = "Whether a worker that the file of sources names is there (1)";
        let mut family = encoder.encode_descriptor("worker_connected", help, None, MetricType::Gauge)?;
        for (name, is_there) in workers {
            let labels = [("worker", name)];
            ConstGauge::new(i64::from(is_there)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Recorded {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Replications in the engine's records, by how they stand";
        let mut family = encoder.encode_descriptor("replications", help, None, MetricType::Gauge)?;
        for status in JobStatus::ALL {
            let count = find(&self.statuses, status);
            ConstGauge::new(count).encode(family.encode_family(&[("status", status.as_str())])?)?;
        }
        let help = "Replications that are worked on, by the step that they are at";
        let mut family = encoder.encode_descriptor("replication_steps", help, None, MetricType::Gauge)?;
        for step in Step::ALL {
            let count = i64::try_from(find(&self.steps, step.number())).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("step", step.as_str())])?)?;
        }
        self.encode_ages(encoder)
    }

    fn encode_ages(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let frozen = i64::try_from(self.frozen).unwrap_or(i64::MAX);
        let help =
            "Machines that may have a snapshot of ours at their source: frozen, and their job not at its end";
        let metric = encoder.encode_descriptor("snapshots_outstanding", help, None, MetricType::Gauge)?;
        ConstGauge::new(frozen).encode(metric)?;
        for (name, help, since) in [
            (
                "oldest_snapshot_age_seconds",
                "How long ago the first of these was frozen; nought where there is none",
                self.frozen_since,
            ),
            (
                "oldest_unfinished_replication_age_seconds",
                "How long ago the oldest replication that is not at its end was asked for; nought where there is none",
                self.oldest,
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            let age = since.map_or(0.0, |since| Timestamp::now().duration_since(since).as_secs_f64());
            ConstGauge::new(age.max(0.0)).encode(metric)?;
        }
        Ok(())
    }
}

fn find<K: PartialEq, N: Copy + Default>(counts: &[(K, N)], key: K) -> N {
    counts
        .iter()
        .find(|(of, _)| *of == key)
        .map_or_else(N::default, |(_, count)| *count)
}
