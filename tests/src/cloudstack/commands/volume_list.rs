//! `listVolumes`: the one way to learn what became of anything.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::fault::Fault;
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view;
use super::super::volume::Volume;
use super::super::wire::{self, page};
use super::{Scope, unknown};

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let filter = Filter::of(cloud, &state, call)?;
    let stale = call.faults.has(|fault| matches!(fault, Fault::Stale));
    let mut found: Vec<&Volume> = if stale {
        state
            .volumes
            .before()
            .filter(|volume| filter.passes(volume))
            .collect()
    } else {
        state
            .volumes
            .all()
            .filter(|volume| filter.passes(volume))
            .collect()
    };
    found.sort_by_key(|volume| (volume.created, volume.id));
    let (asked_for, total) = page(&call.params, found)?;
    let shown = asked_for
        .into_iter()
        .map(|volume| view::volume(cloud, &state, volume, call.viewer()));
    Ok(wire::list("volume", shown.collect(), total))
}

/// What a volume must be to be listed.
struct Filter {
    scope: Scope,
    ids: Vec<Uuid>,
    name: Option<String>,
    keyword: Option<String>,
    state: Option<String>,
    kind: Option<String>,
    vm: Option<Uuid>,
    offering: Option<Uuid>,
    tags: Vec<(String, Option<String>)>,
}

impl Filter {
    fn of(cloud: &Cloud, state: &State, call: &Call) -> Result<Self, Refusal> {
        let params = &call.params;
        let text = |name: &str| params.get(name).map(str::to_lowercase);
        let mut ids = params.ids("ids")?;
        if let Some(id) = params.id("id")? {
            state.volumes.get(id).ok_or_else(|| unknown(params, "id"))?;
            ids.push(id);
        }
        let vm = params.id("virtualmachineid")?;
        if vm.is_some_and(|vm| !state.vms.contains_key(&vm)) {
            return Err(unknown(params, "virtualmachineid"));
        }
        let zone = params.id("zoneid")?;
        if zone.is_some_and(|zone| zone != cloud.places.zone) {
            return Err(unknown(params, "zoneid"));
        }
        Ok(Self {
            scope: Scope::of(call, state)?,
            ids,
            name: params.get("name").map(str::to_owned),
            keyword: text("keyword"),
            state: text("state"),
            kind: text("type"),
            vm,
            offering: params.id("diskofferingid")?,
            tags: params.tags(),
        })
    }

    fn passes(&self, volume: &Volume) -> bool {
        let kind = if volume.is_root { "root" } else { "datadisk" };
        let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text);
        !volume.removed
            && (self.offering.is_none() || self.offering == volume.offering)
            && self.scope.shows(volume.account)
            && (self.ids.is_empty() || self.ids.contains(&volume.id))
            && is(&self.name, &volume.name)
            && is(&self.state, &volume.state.to_string().to_lowercase())
            && is(&self.kind, kind)
            && self
                .keyword
                .as_ref()
                .is_none_or(|word| volume.name.to_lowercase().contains(word))
            && self
                .vm
                .is_none_or(|vm| volume.attachment.is_some_and(|attachment| attachment.vm == vm))
            && self.tags.iter().all(|(key, value)| {
                volume
                    .tags
                    .get(key)
                    .is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
            })
    }
}
