//! Results of a bench: medians, the ratio to the best peer, and their JSON form.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tools::Sample;

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: String,
    pub(super) versions: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One piece of work. Times are medians in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) ours: f64,
    pub(super) peers: BTreeMap<String, f64>,
    /// The best peer's time by ours: above 1 we are faster.
    pub(super) ratio: f64,
    pub(super) goal: f64,
    /// Medians of processor seconds, by tool.
    pub(super) cpu: BTreeMap<String, f64>,
    /// Most memory at any time in any run, in MiB, by tool.
    pub(super) peak_mib: BTreeMap<String, f64>,
    /// Every run in the order it was made, by tool.
    pub(super) runs: Runs,
}

/// The runs of each tool.
pub(super) type Runs = BTreeMap<String, Vec<Sample>>;

impl Row {
    /// Sums up the runs of all tools; `ours` is the name of ours among them. Nothing when a tool has no run.
    pub(super) fn of(name: &str, goal: f64, ours: &str, runs: Runs) -> Option<Self> {
        let medians = |of: fn(&Sample) -> f64| {
            let each = runs
                .iter()
                .map(|(tool, samples)| Some((tool.clone(), median(samples.iter().map(of).collect())?)));
            each.collect::<Option<BTreeMap<_, _>>>()
        };
        let mut peers = medians(|sample| sample.seconds)?;
        let ours = peers.remove(ours)?;
        let best = peers.values().copied().min_by(f64::total_cmp)?;
        let peaks = runs.iter().map(|(tool, samples)| {
            let most = samples.iter().map(|sample| sample.peak_mib).fold(0.0, f64::max);
            (tool.clone(), most)
        });
        Some(Self {
            name: name.to_owned(),
            ours,
            ratio: best / ours,
            goal,
            cpu: medians(|sample| sample.cpu)?,
            peak_mib: peaks.collect(),
            peers,
            runs,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    let upper = times.get(times.len() / 2)?;
    if times.len() % 2 == 1 {
        Some(*upper)
    } else {
        Some(f64::midpoint(times[times.len() / 2 - 1], *upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(of: &[(&str, &[f64])]) -> Runs {
        let sample = |seconds: &f64| Sample {
            seconds: *seconds,
            cpu: seconds / 2.0,
            peak_mib: seconds * 10.0,
        };
        of.iter()
            .map(|(tool, times)| ((*tool).to_owned(), times.iter().map(sample).collect()))
            .collect()
    }

    #[test]
    fn the_ratio_is_to_the_best_peer_by_medians() {
        let runs = runs(&[
            ("ours", &[1.0, 9.0, 1.0]),
            ("slow", &[3.0, 3.0]),
            ("fast", &[1.0, 2.0]),
        ]);
        let row = Row::of("r", 1.2, "ours", runs).unwrap();
        assert!((row.ratio - 1.5).abs() < 1e-9, "{row:?}");
        assert!((row.peers["slow"] - 3.0).abs() < 1e-9, "{row:?}");
        assert!(!row.peers.contains_key("ours"));
        assert!((row.cpu["ours"] - 0.5).abs() < 1e-9 && (row.peak_mib["ours"] - 90.0).abs() < 1e-9);
    }

    #[test]
    fn without_runs_there_is_no_row() {
        assert!(Row::of("r", 1.0, "ours", runs(&[("ours", &[1.0]), ("peer", &[])])).is_none());
    }
}
