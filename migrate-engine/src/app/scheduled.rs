//! What of the service begins by itself: the plan that is followed, the scheduler, the bandwidth by time of day.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::api::Schedules;
use crate::pipeline::Desk;
use crate::schedule::{
    AtDesk, Bandwidth, PlanFileError, PlanWatch, Rate, Records, Scheduler, SystemClock, Zone, follow,
};
use crate::store::Store;
use crate::transfer::RateLimit;

/// Reads the plan. `rate` holds where it says nothing of bandwidth.
pub(super) async fn read(path: &Path, rate: Rate) -> Result<PlanWatch, PlanFileError> {
    let usual = Bandwidth {
        zone: Zone::default(),
        default: rate,
        windows: Vec::new(),
    };
    PlanWatch::open(path, usual).await
}

/// Begins what follows the plan. What is due is asked for at the desk where people ask.
pub(super) fn begin(
    parts: &mut Parts,
    plan: PlanWatch,
    desk: &Desk,
    store: Arc<Store>,
    limit: RateLimit,
    stopping: &CancellationToken,
) -> Schedules {
    let clock = Arc::new(SystemClock);
    let starter = Arc::new(AtDesk::new(desk.clone(), stopping.clone()));
    let scheduler = Scheduler::new(starter, Arc::new(Records::new(store)), clock.clone());
    let schedules = Schedules {
        timetable: scheduler.timetable(),
        problem: plan.problem(),
    };
    let bandwidth = follow(plan.bandwidth(), limit, clock, stopping.clone());
    parts.begin_idle("the bandwidth by time of day", bandwidth);
    // A start that is under way is recorded before the end.
    parts.begin("the scheduler", scheduler.run(plan.schedules(), stopping.clone()));
    parts.begin_idle("the file of schedules", plan.run(stopping.clone()));
    schedules
}
