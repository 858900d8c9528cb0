//! `volumectl volumes`, `attach`, `detach`, `device`, `correlate`.

use futures_util::TryStreamExt;

use super::args::{VolumesVerb, Wait};
use super::confirm::{Consent, ask};
use super::failure::Failure;
use super::measure::human_size;
use super::table::{Table, facts, maybe, time, word, yes_no};
use super::{Session, table};
use crate::client::VolumeFilter;
use crate::types::{AttachVolume, NewVolume, Operation, ResizeVolume, SourceDisk, Volume, VolumeDevice};

impl Session {
    pub(super) async fn volumes(&self, verb: Option<VolumesVerb>) -> Result<(), Failure> {
        match verb {
            None => self.list_volumes(VolumeFilter::default()).await,
            Some(VolumesVerb::List {
                state,
                source_vm,
                source_disk,
                name,
            }) => {
                let filter = VolumeFilter {
                    source_vm,
                    source_disk,
                    state,
                    name,
                };
                self.list_volumes(filter).await
            }
            Some(VolumesVerb::Show { volume }) => {
                let volume = self.select_volume(&volume).await?;
                self.out.show(&volume, describe)
            }
            Some(VolumesVerb::Create {
                name,
                size,
                source_vm,
                source_disk,
                wait,
            }) => {
                let source = source_vm
                    .zip(source_disk)
                    .map(|(vm, disk)| SourceDisk { vm, disk });
                let new = NewVolume {
                    name,
                    size_bytes: size,
                    source,
                };
                let operation = self.client.create_volume(&new).await?;
                self.then_show_volume(operation, wait).await
            }
            Some(VolumesVerb::Resize { volume, size, wait }) => {
                let id = self.select_volume_id(&volume).await?;
                let resize = ResizeVolume { size_bytes: size };
                let operation = self.client.resize_volume(id, &resize).await?;
                self.then_show_volume(operation, wait).await
            }
            Some(VolumesVerb::Delete {
                volume,
                confirm_name,
                yes,
                wait,
            }) => {
                self.delete_volume(&volume, confirm_name, yes.consent(), wait)
                    .await
            }
        }
    }

    async fn list_volumes(&self, filter: VolumeFilter) -> Result<(), Failure> {
        let volumes: Vec<Volume> = self.client.list_all_volumes(filter).try_collect().await?;
        self.out.list(&volumes, |volumes| {
            let mut table = Table::new(&["id", "name", "size", "state", "vm", "source", "conditions"]);
            for volume in volumes {
                table.row([
                    volume.id.to_string(),
                    volume.name.clone(),
                    human_size(volume.size_bytes),
                    word(volume.state),
                    maybe(volume.attachment.as_ref().map(|a| &a.vm_id)),
                    maybe(volume.source.as_ref().map(|s| format!("{}/{}", s.vm, s.disk))),
                    conditions(volume),
                ]);
            }
            table
        })
    }

    /// Deleting needs the name, typed or given. `--yes` answers for volumes that were never handed out only: the
    /// daemon refuses to delete others without their name.
    async fn delete_volume(
        &self,
        text: &str,
        confirm_name: Option<String>,
        consent: Consent,
        wait: Wait,
    ) -> Result<(), Failure> {
        let volume = self.select_volume(text).await?;
        let name = match (confirm_name, consent) {
            (Some(name), _) => Some(name),
            (None, Consent::Given) => None,
            (None, Consent::Asked) => {
                let size = human_size(volume.size_bytes);
                let shown = table::plain(&volume.name);
                let question =
                    format!("This deletes volume {shown} ({size}) and what is on it. Type its name: ");
                Some(ask(&question, "add --confirm-name NAME with the volume's name")?)
            }
        };
        if name.as_ref().is_some_and(|name| *name != volume.name) {
            return Err(Failure::Selection {
                error: format!("that is not the name of volume {}, nothing was done", volume.id),
                hint: None,
            });
        }
        let operation = self.client.delete_volume(volume.id, name.as_deref()).await?;
        self.finish(operation, wait, |_| format!("deleted {}", volume.id))
            .await
    }

    pub(super) async fn attach(&self, text: &str, vm: Option<String>, wait: Wait) -> Result<(), Failure> {
        let id = self.select_volume_id(text).await?;
        let vm_id = match vm {
            Some(vm) => vm,
            None => self.client.status().await?.vm_id,
        };
        let operation = self.client.attach_volume(id, &AttachVolume { vm_id }).await?;
        self.finish(operation, wait, |done| bound("attached", done)).await
    }

    pub(super) async fn correlate(&self, text: &str, wait: Wait) -> Result<(), Failure> {
        let id = self.select_volume_id(text).await?;
        let operation = self.client.correlate_volume(id).await?;
        self.finish(operation, wait, |done| bound("correlated", done))
            .await
    }

    pub(super) async fn detach(&self, text: &str, wait: Wait) -> Result<(), Failure> {
        let id = self.select_volume_id(text).await?;
        let operation = self.client.detach_volume(id).await?;
        self.finish(operation, wait, |done| format!("detached {}", done.volume_id))
            .await
    }

    pub(super) async fn device(&self, text: &str) -> Result<(), Failure> {
        let id = self.select_volume_id(text).await?;
        let device = self.client.volume_device(id).await?;
        self.out.show(&device, describe_device)
    }

    async fn then_show_volume(&self, operation: Operation, wait: Wait) -> Result<(), Failure> {
        if wait.no_wait {
            return self.started(&operation);
        }
        let done = self
            .client
            .wait_for_completion(operation.id, self.timeout)
            .await?;
        let volume = self.client.volume(done.volume_id).await?;
        self.out.show(&volume, describe)
    }
}

fn bound(what: &str, operation: &Operation) -> String {
    let id = operation.volume_id;
    match operation.attach_response() {
        Some(response) => table::plain(&format!("{what} {id}: {}", response.device_path)),
        None => format!("{what} {id}"),
    }
}

fn conditions(volume: &Volume) -> String {
    let kinds: Vec<_> = volume.conditions.iter().map(|c| word(c.kind)).collect();
    if kinds.is_empty() {
        maybe(None::<String>)
    } else {
        kinds.join(",")
    }
}

fn describe(volume: &Volume) -> String {
    let attachment = volume.attachment.as_ref();
    let mut pairs = vec![
        ("id", volume.id.to_string()),
        ("name", volume.name.clone()),
        (
            "size",
            format!("{} ({} bytes)", human_size(volume.size_bytes), volume.size_bytes),
        ),
        ("state", word(volume.state)),
        ("provider", volume.provider.clone()),
        ("provider volume", maybe(volume.provider_volume_id.as_ref())),
        (
            "source",
            maybe(volume.source.as_ref().map(|s| format!("{}/{}", s.vm, s.disk))),
        ),
        ("vm", maybe(attachment.map(|a| &a.vm_id))),
        (
            "attachment",
            maybe(attachment.map(|a| format!("{}, generation {}", word(a.state), a.generation))),
        ),
        ("handed out", yes_no(volume.handed_out)),
        ("known zero", yes_no(volume.known_zero)),
        ("operation", maybe(volume.operation_id)),
        ("created", time(volume.created_at)),
        ("updated", time(volume.updated_at)),
    ];
    for condition in &volume.conditions {
        let since = time(condition.since);
        let text = format!("{} since {since}: {}", word(condition.kind), condition.reason);
        pairs.push(("condition", text));
        pairs.push(("hint", condition.hint.clone()));
    }
    facts(&pairs)
}

fn describe_device(device: &VolumeDevice) -> String {
    facts(&[
        ("volume", device.volume_id.to_string()),
        ("device", device.device_path.clone()),
        ("number", device.devnum.clone()),
        (
            "size",
            format!("{} ({} bytes)", human_size(device.size_bytes), device.size_bytes),
        ),
        ("identity", device.identity.clone()),
        ("diskseq", maybe(device.diskseq)),
        ("vm", device.vm_id.clone()),
        ("generation", device.generation.to_string()),
        ("attached", time(device.attached_at)),
        ("verified", time(device.verified_at)),
    ])
}
