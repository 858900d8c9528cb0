//! The VM that the daemon runs in: told by the firmware or the configuration, confirmed by the API.

use std::io;

use super::api::Api;
use super::command::Command;
use super::error::{Failure, refused};
use super::volume::is_id;
use super::wire::Machine;
use super::{Inner, classify};
use crate::cloud::CloudError;
use crate::config::CloudStack as Settings;

/// On KVM the firmware's UUID is the VM's id. Readable by root only.
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// What a check of the VM asks for beyond its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Nothing: cheap.
    Least,
    /// What the VM was made with.
    Details,
}

impl Inner {
    /// The id of the VM that the daemon runs in, once the API has shown that there is such a VM among ours.
    pub(super) async fn find_own_vm(&self) -> Result<String, CloudError> {
        let doing = "finding out which VM this is";
        let id = claimed(&self.settings).await.map_err(|why| refused(doing, why))?;
        let found = machine(&self.api, &id, self.place.project.as_deref(), Detail::Least).await;
        match found.map_err(|failure| classify::reading(failure, doing))? {
            Some(machine) => Ok(machine.id),
            None => Err(refused(doing, unknown(&id))),
        }
    }
}

/// What to do where the API does not show the VM.
pub(super) fn unknown(id: &str) -> String {
    format!(
        "CloudStack shows no VM {id} to these keys: use keys of the account that the VM belongs to, set `cloudstack.project` \
         where it belongs to a project, or `cloudstack.vm_id` where the firmware tells another id"
    )
}

/// The id that the configuration or the firmware tells.
pub(super) async fn claimed(settings: &Settings) -> Result<String, String> {
    if let Some(id) = &settings.vm_id {
        return Ok(id.clone());
    }
    let read: io::Result<String> = tokio::fs::read_to_string(PRODUCT_UUID).await;
    let text =
        read.map_err(|error| format!("cannot read {PRODUCT_UUID} ({error}): set `cloudstack.vm_id`"))?;
    let id = text.trim().to_lowercase();
    if is_id(&id) {
        Ok(id)
    } else {
        Err(format!("{PRODUCT_UUID} holds no id: set `cloudstack.vm_id`"))
    }
}

/// The VM of this id, where the API shows it to us.
pub(super) async fn machine(
    api: &Api,
    id: &str,
    project: Option<&str>,
    detail: Detail,
) -> Result<Option<Machine>, Failure> {
    let least = (detail == Detail::Least).then_some("min");
    let command = Command::read("listVirtualMachines")
        .with("id", id)
        .with_some("details", least)
        .with_some("projectid", project);
    match api.list::<Machine>(&command, "virtualmachine").await {
        Ok(found) => Ok(found.into_iter().find(|machine| machine.id == id)),
        Err(failure) if failure.is_absence_of(id) => Ok(None),
        Err(failure) => Err(failure),
    }
}
