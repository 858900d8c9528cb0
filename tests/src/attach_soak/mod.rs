//! The attach soak: lanes of clients that attach, check, write and detach volumes, while everything around them goes wrong.
//!
//! ```text
//! lanes --typed client--> daemon --> cloud with faults by chance --> loop devices
//!   |                       ^          ^                                ^
//!   model of every block    keeper     neighbour: works in the UI, plugs foreign disks and twins in
//!                           kills it   operator: pulls phantoms out once the daemon has shown them
//! ```
//!
//! At the end the faults are off, everything is detached, and what must be left is exactly what the records say.
//!
//! What a seed repeats: the plan of every lane, the neighbour's and the keeper's draws, and which call of each command a
//! fault strikes. What it does not: who is first. Lanes, jobs and the daemon run at once.

mod content;
mod ending;
mod evidence;
mod faults;
mod keeper;
mod lane;
mod neighbour;
mod operation;
mod operator;
mod process;
mod scene;
mod settling;
mod tally;
mod using;

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::{Chance, CloudSite};
use lane::Lane;
use process::Footprint;
use scene::{Phase, Scene};
pub use tally::{Figures, Report};

/// How much is done, and what chance begins with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What chance begins with.
    pub seed: u64,
    /// How many cycles all lanes do together.
    pub cycles: u64,
    /// How many lanes run at once.
    pub lanes: u32,
    /// After how many cycles the daemon is killed, on average.
    pub cycles_between_kills: u64,
}

/// Does what the plan says and reports what came of it; `None`, loudly, where this is not root.
///
/// # Panics
/// Where the site cannot be set up, or its daemon does not come up again.
pub async fn run(plan: &Plan) -> Option<Report> {
    let began = Instant::now();
    let mut chance = Chance::from_seed(plan.seed);
    let mut site = CloudSite::started().await?;
    let before = Footprint::of(&site).await;
    faults::arm(&site.cloud.faults(), &mut chance);

    let CloudSite {
        daemon,
        cloud,
        hypervisor,
    } = &mut site;
    let scene = Scene::new(daemon.client(), cloud, hypervisor, plan);
    let lanes: Vec<_> = (0..plan.lanes)
        .map(|number| Lane::new(&scene, number, chance.branch()))
        .collect();
    let (neighbour, keeper) = (chance.branch(), chance.branch());
    let lanes = async {
        let done = join_all(lanes.into_iter().map(Lane::run)).await;
        scene.cloud.faults().disarm();
        scene.enter(Phase::Settling);
        done
    };
    let work = async {
        // What the neighbour has begun ends before anything is called settled.
        let (done, ()) = tokio::join!(lanes, neighbour::disturb(&scene, neighbour));
        settling::detach_all(&scene).await;
        scene.enter(Phase::Over);
        done
    };
    let (models, (), ()) = tokio::join!(
        work,
        operator::attend(&scene),
        keeper::keep(&scene, daemon, plan, keeper),
    );
    let models = models.into_iter().flatten().collect();
    let tally = scene.into_tally();
    ending::check(&mut site, &tally, &before, models).await;
    let report = tally.report(plan, site.cloud.faults().struck(), began.elapsed());
    if !report.violations.is_empty() {
        report.keep_log(&site.daemon.log());
    }
    Some(report)
}

/// Between two looks at something that changes.
const PAUSE: Duration = Duration::from_millis(40);

/// What `look` sees, looking again and again for at most `limit`; `None` where it saw nothing until then.
async fn seen_within<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let seen = look().await;
        if seen.is_some() || began.elapsed() >= limit {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
