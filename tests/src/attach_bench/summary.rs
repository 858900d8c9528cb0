//! Percentiles, and how they are told.

use std::fmt;

use serde::Serialize;

use super::Measured;

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p100: f64,
}

impl Percentiles {
    pub(crate) fn of(percentile: impl Fn(f64) -> f64) -> Self {
        Self {
            p50: percentile(0.50),
            p90: percentile(0.90),
            p99: percentile(0.99),
            p100: percentile(1.0),
        }
    }
}

/// The value that this share of the values does not exceed: the nearest one above. Nought of nothing.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a bench are small, and the share lies between 0 and 1"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p100 } = self;
        write!(
            f,
            "p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, longest {p100:.2} ms"
        )
    }
}

/// For people; the last line is the ratio.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} attaches, from the kernel's uevent; the daemon asks the cloud for its job every {} ms",
            self.cycles, self.poll_interval_ms
        )?;
        writeln!(
            f,
            "volumed, to the committed mapping (its histogram, linear inside a bucket): {}",
            self.ours
        )?;
        writeln!(
            f,
            "a poll once a second, to the look that finds it (exact):               {}",
            self.poller
        )?;
        write!(
            f,
            "ratio poll / volumed: p50 {:.1}, p99 {:.1}",
            self.ratio_p50, self.ratio_p99
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_value_above() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = [0.5, 0.99, 1.0].map(|share| percentile(&values, share));
        assert_eq!(found, [50.0, 99.0, 100.0]);
        assert_eq!([percentile(&[3.0], 0.5), percentile(&[], 0.5)], [3.0, 0.0]);
    }
}
