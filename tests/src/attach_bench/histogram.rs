//! A histogram as `/metrics` shows it, and percentiles read off it.

use anyhow::{Context, ensure};

/// The cumulative counts of a histogram, by upper bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram(Vec<Bucket>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    /// In seconds; infinite for the last.
    to: f64,
    /// How many were no longer than that.
    count: u64,
}

impl Histogram {
    /// Reads the histogram of this name, which has no labels.
    pub(super) fn read(metrics: &str, name: &str) -> anyhow::Result<Self> {
        let begin = format!("{name}_bucket{{le=\"");
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(&begin));
        let buckets = lines.map(|line| {
            let (to, count) = line
                .split_once("\"} ")
                .context("a bucket has a bound and a count")?;
            // `+Inf` is a number that this reads.
            let (to, count) = (to.parse()?, count.parse()?);
            Ok(Bucket { to, count })
        });
        let buckets = buckets.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!buckets.is_empty(), "the daemon has no metric {name}");
        Ok(Self(buckets))
    }

    /// What was counted since this earlier reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        let pairs = self.0.iter().zip(&before.0);
        let buckets = pairs.map(|(now, then)| Bucket {
            to: now.to,
            count: now.count.saturating_sub(then.count),
        });
        Self(buckets.collect())
    }

    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |bucket| bucket.count)
    }

    /// The value, in seconds, that this share of what was counted does not exceed: by linear interpolation inside the
    /// bucket where it lies, and the last finite bound where it lies beyond that.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of a bench are small")]
        let (as_float, rank) = (|count: u64| count as f64, self.count() as f64 * share);
        let (mut from, mut below) = (0.0, 0);
        for bucket in &self.0 {
            if bucket.to.is_infinite() {
                break;
            }
            if bucket.count > below && as_float(bucket.count) >= rank {
                let part = (rank - as_float(below)) / as_float(bucket.count - below);
                return (bucket.to - from).mul_add(part, from);
            }
            (from, below) = (bucket.to, bucket.count);
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE x_seconds histogram\n\
        x_seconds_sum 1.5\nx_seconds_count 10\n\
        x_seconds_bucket{le=\"0.1\"} 0\nx_seconds_bucket{le=\"0.2\"} 8\n\
        x_seconds_bucket{le=\"0.4\"} 10\nx_seconds_bucket{le=\"+Inf\"} 10\n\
        y_seconds_bucket{le=\"0.1\"} 7\n";

    #[test]
    fn percentiles_are_interpolated_inside_their_bucket() {
        let histogram = Histogram::read(METRICS, "x_seconds").unwrap();
        assert_eq!(histogram.count(), 10);
        assert!((histogram.percentile(0.4) - 0.15).abs() < 1e-9);
        assert!((histogram.percentile(0.8) - 0.2).abs() < 1e-9);
        assert!((histogram.percentile(0.9) - 0.3).abs() < 1e-9);
        assert!((histogram.percentile(1.0) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn what_was_counted_before_does_not_count() {
        let before = Histogram::read(METRICS, "x_seconds").unwrap();
        let after = METRICS.replace("\"} 10", "\"} 12");
        let after = Histogram::read(&after, "x_seconds").unwrap();
        let since = after.since(&before);
        assert_eq!(since.count(), 2);
        assert!((since.percentile(0.5) - 0.3).abs() < 1e-9);
    }

    #[test]
    fn a_metric_that_is_not_there_is_no_measurement() {
        assert!(Histogram::read(METRICS, "z_seconds").is_err());
    }
}
