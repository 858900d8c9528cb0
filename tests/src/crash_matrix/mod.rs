//! The crash matrix: every operation, both ways, struck at every point that it passes.
//!
//! The points are not listed anywhere: an operation is done once with the daemon telling which points it reaches
//! (`volumed/src/crash.rs`), then once more for each of them with the daemon dying there by SIGKILL, or with the database
//! failing at that change. A new operation or step is covered by being in the daemon's tables.
//!
//! After each strike: the operation is found under its idempotency key and ends; what ended well or badly stays so; the
//! records, the cloud and the kernel agree; nothing is there twice, left behind or lost; no rule of dealing with the cloud was
//! broken; a further death changes nothing; and the volume can be detached and deleted.

mod scenario;
mod stray;
mod strike;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use volume_client::types::OperationKind;

use crate::Chance;

pub use scenario::{Scenario, Way};
pub use strike::{Arm, CLOUD_FAULTS, Learned, Matrix};

/// What a run of the matrix came to.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Deaths by SIGKILL at a point.
    pub kills: u64,
    /// Failures of the database.
    pub store_faults: u64,
    /// Faults of the cloud with no death.
    pub cloud_faults: u64,
    /// Strikes that found nothing to strike: the operation took another way that time.
    pub missed: u64,
    /// How often an operation ended in each way.
    pub ends: BTreeMap<String, u64>,
    /// How often each kind of operation was struck by each kind of blow.
    pub struck: BTreeMap<(String, &'static str), u64>,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Figures {
    /// Takes another run's figures in.
    pub fn add(&mut self, other: Figures) {
        self.kills += other.kills;
        self.store_faults += other.store_faults;
        self.cloud_faults += other.cloud_faults;
        self.missed += other.missed;
        for (end, times) in other.ends {
            *self.ends.entry(end).or_default() += times;
        }
        for (what, times) in other.struck {
            *self.struck.entry(what).or_default() += times;
        }
        self.violations.extend(other.violations);
    }
}

impl Figures {
    /// Operations by blows, as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let blows: BTreeSet<_> = self.struck.keys().map(|(_, blow)| *blow).collect();
        let kinds: BTreeSet<_> = self.struck.keys().map(|(kind, _)| kind).collect();
        let mut table = String::from("| operation |");
        table.extend(blows.iter().map(|blow| format!(" {blow} |")));
        table.push_str("\n|---|");
        table.extend(blows.iter().map(|_| "--:|"));
        for kind in kinds {
            let times = |blow| self.struck.get(&(kind.clone(), blow)).copied().unwrap_or(0);
            table.push_str(&format!("\n| `{kind}` |"));
            table.extend(blows.iter().map(|blow| format!(" {} |", times(*blow))));
        }
        table
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<_> = self.ends.iter().map(|(end, n)| format!("{n} {end}")).collect();
        write!(
            f,
            "{} kills, {} failures of the database, {} faults of the cloud, {} strikes that met nothing; {}; {} violations",
            self.kills,
            self.store_faults,
            self.cloud_faults,
            self.missed,
            ends.join(", "),
            self.violations.len()
        )
    }
}

/// What is to be struck.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In which order, where time is bounded.
    pub seed: u64,
    /// No strike begins after that; without it the whole matrix is gone through once.
    pub at_most: Option<Duration>,
    /// Only points whose name contains this.
    pub only: Option<String>,
}

/// How many daemons are struck at once: a strike is mostly waiting.
const LANES: usize = 4;

/// Learns the points of the scenarios, and strikes at each of them in an order of chance; over and over, where a time is given.
/// `progress` is told now and then. `None`, loudly, where this is not root.
pub async fn run(plan: &Plan, progress: impl FnMut(&Figures)) -> Option<Figures> {
    let (mut matrix, mut figures) = (Matrix::new().await?, Figures::default());
    let mut strikes = Vec::new();
    for scenario in Scenario::all() {
        match matrix.learn(scenario).await {
            Ok(learned) => strikes.extend(strikes_of(scenario, &learned)),
            Err(what) => figures.violations.push(what),
        }
    }
    drop(matrix);
    strikes.retain(|(_, arm)| {
        plan.only
            .as_ref()
            .is_none_or(|only| arm.to_string().contains(only))
    });
    figures.add(strike_all(strikes, plan, progress).await?);
    Some(figures)
}

/// Strikes with all of these, several at once.
pub async fn strike_all(
    strikes: Vec<(Scenario, Arm)>,
    plan: &Plan,
    mut progress: impl FnMut(&Figures),
) -> Option<Figures> {
    let (ends, mut chance) = (
        plan.at_most.map(|limit| Instant::now() + limit),
        Chance::from_seed(plan.seed),
    );
    let queue = Arc::new(Mutex::new(Vec::new()));
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut lanes = Vec::new();
    let mut refill = |queue: &Mutex<Vec<_>>| {
        let mut round = strikes.clone();
        shuffle(&mut round, &mut chance);
        *queue.lock() = round;
    };
    refill(&queue);
    for _ in 0..LANES {
        let (mut matrix, queue, tell) = (Matrix::new().await?, Arc::clone(&queue), tell.clone());
        lanes.push(async move {
            while ends.is_none_or(|end| Instant::now() < end) {
                let next = queue.lock().pop();
                match next {
                    Some((scenario, arm)) => {
                        let mut figures = matrix.strike(scenario, &arm).await;
                        if figures.missed == 0 {
                            let what = (scenario.name(), arm.kind());
                            *figures.struck.entry(what).or_default() += 1;
                        }
                        drop(tell.send(figures));
                    }
                    None if ends.is_none() => return,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    drop(tell);
    let tally = async {
        let (mut figures, mut count) = (Figures::default(), 0);
        while let Some(one) = told.recv().await {
            figures.add(one);
            count += 1;
            if count % 100 == 0 {
                progress(&figures);
            }
            if ends.is_some() && queue.lock().is_empty() && !strikes.is_empty() {
                refill(&queue);
            }
        }
        figures
    };
    let (figures, _) = tokio::join!(tally, join_all(lanes));
    Some(figures)
}

/// Every blow that a scenario can be struck with.
#[must_use]
pub fn strikes_of(scenario: Scenario, learned: &Learned) -> Vec<(Scenario, Arm)> {
    let kills = learned
        .points
        .iter()
        .flat_map(|(point, times)| (1..=*times).map(|time| Arm::Kill(point.clone(), time)));
    let faults = learned
        .changes
        .clone()
        .flat_map(|number| [Arm::Store("full", number), Arm::Store("busy", number)]);
    // An operation that is refused, or asks the cloud for nothing, is not struck there.
    let asks_nothing = matches!(scenario.kind, OperationKind::Correlate | OperationKind::Adopt);
    let calls = scenario.way == Way::Through && !asks_nothing;
    let clouds = CLOUD_FAULTS.into_iter().filter(|_| calls);
    let around_calls = learned
        .points
        .keys()
        .filter(|point| point.contains("-call") || point.contains("-answer"));
    let both = around_calls.flat_map(|point| {
        clouds
            .clone()
            .map(|fault| Arm::CloudAndKill(fault, point.clone()))
    });
    let clouds = clouds.clone().map(Arm::Cloud);
    let all = kills.chain(faults).chain(clouds).chain(both);
    all.map(|arm| (scenario, arm)).collect()
}

fn shuffle<T>(all: &mut [T], chance: &mut Chance) {
    for last in (1..all.len()).rev() {
        let other = usize::try_from(chance.below(last as u64 + 1)).expect("an index");
        all.swap(last, other);
    }
}
