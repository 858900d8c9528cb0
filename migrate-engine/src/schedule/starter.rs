//! Who does what is due.

use async_trait::async_trait;

use super::{Begun, Schedule, Selection, VmFate, VmStart};

/// Starts the workflow that a person's request starts, beginning with a fresh discovery.
#[async_trait]
pub trait Starter: Send + Sync {
    /// Starts each machine of one selection of a schedule's run, in their order, and returns once each has its job on record
    /// or was refused: not when jobs have ended. One that is refused does not stop the others. It is called once for each
    /// run, and never again whatever it says.
    async fn start(&self, schedule: &str, selection: &Selection) -> Vec<VmStart>;
}

/// Starts all that a schedule is about, one selection after another, and says what became of it.
pub(super) async fn start_all(starter: &dyn Starter, schedule: &Schedule) -> Vec<Begun> {
    let mut begun = Vec::new();
    for selection in &schedule.what {
        let vms = starter.start(&schedule.name, selection).await;
        for start in &vms {
            say(&schedule.name, &selection.vcenter_host, start);
        }
        let selection = selection.clone();
        begun.push(Begun { selection, vms });
    }
    begun
}

fn say(schedule: &str, vcenter_host: &str, start: &VmStart) {
    let vm = &start.vm;
    match &start.fate {
        VmFate::Started { job } => tracing::info!(schedule, vcenter_host, vm, job, "started"),
        VmFate::Busy { job } => {
            tracing::warn!(
                schedule,
                vcenter_host,
                vm,
                job,
                "not started: its earlier job is still under way"
            );
        }
        VmFate::Refused { why } => {
            tracing::error!(schedule, vcenter_host, vm, error = why, "cannot be started")
        }
    }
}
