//! Results of a bench: medians, the ratio to the best peer, and their JSON form.

use std::collections::BTreeMap;

use serde::Serialize;

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
    pub(super) goal: Option<f64>,
    /// Every run in the order it was made, in seconds, by tool.
    pub(super) runs: BTreeMap<String, Vec<f64>>,
}

impl Row {
    /// Sums up the runs of all tools; `ours` is the name of ours among them. Nothing when a tool has no run.
    pub(super) fn of(
        name: &str,
        goal: Option<f64>,
        ours: &str,
        runs: BTreeMap<String, Vec<f64>>,
    ) -> Option<Self> {
        let mut peers = runs
            .iter()
            .map(|(tool, times)| Some((tool.clone(), median(times)?)))
            .collect::<Option<BTreeMap<_, _>>>()?;
        let ours = peers.remove(ours)?;
        let best = peers.values().copied().min_by(f64::total_cmp)?;
        Some(Self {
            name: name.to_owned(),
            ours,
            peers,
            ratio: best / ours,
            goal,
            runs,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        Some(*upper)
    } else {
        Some(f64::midpoint(sorted[sorted.len() / 2 - 1], *upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_best_peer_by_medians() {
        let runs = [
            ("ours", vec![1.0, 9.0, 1.0]),
            ("slow", vec![3.0, 3.0]),
            ("fast", vec![1.0, 2.0]),
        ];
        let runs = runs
            .into_iter()
            .map(|(tool, times)| (tool.to_owned(), times))
            .collect();
        let row = Row::of("r", Some(1.2), "ours", runs).unwrap();
        assert!((row.ratio - 1.5).abs() < 1e-9, "{row:?}");
        assert!((row.peers["slow"] - 3.0).abs() < 1e-9, "{row:?}");
        assert!(!row.peers.contains_key("ours"));
    }

    #[test]
    fn without_runs_there_is_no_row() {
        let runs = [("ours".to_owned(), vec![1.0]), ("peer".to_owned(), vec![])];
        assert!(Row::of("r", None, "ours", runs.into()).is_none());
    }
}
