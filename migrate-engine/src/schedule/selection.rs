//! Which virtual machines a schedule is about.

use serde::{Deserialize, Serialize};

pub use crate::model::ReplicationType;

/// Virtual machines of one vCenter. They are looked for anew at each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The vCenter's or host's name.
    pub vcenter_host: String,
    /// Names, or paths in the inventory where a name is not enough.
    pub vms: Vec<String>,
    /// The datacenter; any where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// How much is copied; where it is not said, the workflow decides, as it does for a person's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_type: Option<ReplicationType>,
}

impl Selection {
    /// What is wrong with it: the key within it, and what to write.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.vcenter_host.trim().is_empty() {
            problems.push((
                "vcenter_host",
                "is empty; write the name of the vCenter or host".to_owned(),
            ));
        }
        if self.vms.is_empty() {
            problems.push((
                "vms",
                "is empty; write names or paths of virtual machines".to_owned(),
            ));
        }
        for (nth, vm) in self.vms.iter().enumerate() {
            if vm.trim().is_empty() {
                problems.push(("vms", "has an empty name; take it out or write one".to_owned()));
            } else if self.vms[..nth].contains(vm) {
                problems.push(("vms", format!("has `{vm}` twice; write it once")));
            }
        }
        if self
            .datacenter
            .as_ref()
            .is_some_and(|name| name.trim().is_empty())
        {
            problems.push((
                "datacenter",
                "is empty; leave it out for any datacenter".to_owned(),
            ));
        }
        problems
    }
}
