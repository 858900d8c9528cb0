//! Starts what is due where a person's request is taken too.

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{ReplicationType, Selection, Starter, VmFate, VmStart};
use crate::model::chain;
use crate::pipeline::{Desk, Refusal, Request};

/// Asks for a replication of each machine, as the API does. Machines are looked for anew each time.
///
/// Once the service stops, what is not asked for yet is refused: a start is over soon after, and on record.
#[derive(Clone)]
pub struct AtDesk {
    desk: Desk,
    stopping: CancellationToken,
}

/// What stands in the job's record as asked for.
#[derive(Serialize)]
struct Asked<'a> {
    asked_by: String,
    vm: &'a str,
    vcenter_host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacenter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_type: Option<ReplicationType>,
}

impl AtDesk {
    /// Asks at this desk until the service stops.
    #[must_use]
    pub fn new(desk: Desk, stopping: CancellationToken) -> Self {
        Self { desk, stopping }
    }

    async fn ask(&self, schedule: &str, selection: &Selection, vm: &str) -> VmFate {
        if self.stopping.is_cancelled() {
            let why = "the service was being stopped: start it by hand where it has to be".to_owned();
            return VmFate::Refused { why };
        }
        match self.desk.submit(request(schedule, selection, vm)).await {
            Ok((job, _)) => VmFate::Started { job: job.id },
            Err(Refusal::Busy { job }) => VmFate::Busy { job },
            Err(refusal) => VmFate::Refused { why: chain(&refusal) },
        }
    }
}

#[async_trait]
impl Starter for AtDesk {
    async fn start(&self, schedule: &str, selection: &Selection) -> Vec<VmStart> {
        let mut starts = Vec::new();
        for vm in &selection.vms {
            let fate = self.ask(schedule, selection, vm).await;
            let vm = vm.clone();
            starts.push(VmStart { vm, fate });
        }
        starts
    }
}

fn request(schedule: &str, selection: &Selection, vm: &str) -> Request {
    let asked = Asked {
        asked_by: format!("schedule {schedule}"),
        vm,
        vcenter_host: &selection.vcenter_host,
        datacenter: selection.datacenter.as_deref(),
        replication_type: selection.replication_type,
    };
    Request {
        raw: serde_json::to_string(&asked).expect("it has only strings"),
        vm_path: vm.to_owned(),
        vcenter_host: selection.vcenter_host.clone(),
        datacenter: selection.datacenter.clone(),
        replication_type: selection.replication_type,
        ..Request::default()
    }
}
