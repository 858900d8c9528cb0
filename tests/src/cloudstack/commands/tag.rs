//! Tags on volumes and snapshots: `createTags`, `deleteTags`, `listTags`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view;
use super::super::wire::{self, page};
use super::{Scope, may_change, started, success, unknown};

/// What tags hang on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Volume,
    Snapshot,
}

impl Resource {
    fn of(call: &Call) -> Result<Self, Refusal> {
        let kind = call.params.required("resourcetype")?;
        if kind.eq_ignore_ascii_case("Volume") {
            Ok(Self::Volume)
        } else if kind.eq_ignore_ascii_case("Snapshot") {
            Ok(Self::Snapshot)
        } else {
            Err(Refusal::invalid(format!("Invalid resource type {kind}")))
        }
    }

    fn owner(self, state: &State, id: Uuid) -> Option<Uuid> {
        match self {
            Self::Volume => state
                .volumes
                .get(id)
                .filter(|volume| !volume.removed)
                .map(|volume| volume.account),
            Self::Snapshot => state.snapshots.get(&id).map(|snapshot| snapshot.account),
        }
    }

    fn tags(self, state: &mut State, id: Uuid) -> Result<&mut BTreeMap<String, String>, Refusal> {
        match self {
            Self::Volume => state.volumes.edit(id).map(|volume| &mut volume.tags),
            Self::Snapshot => {
                let snapshot = state.snapshots.get_mut(&id);
                snapshot
                    .map(|snapshot| &mut snapshot.tags)
                    .ok_or_else(|| Refusal::invalid("no such snapshot"))
            }
        }
    }
}

/// The resources that the call names, all of which the caller may act upon.
fn resources(state: &State, call: &Call) -> Result<(Resource, Vec<Uuid>), Refusal> {
    let kind = Resource::of(call)?;
    call.params.required("resourceids")?;
    let ids = call.params.ids("resourceids")?;
    for id in &ids {
        let owner = kind
            .owner(state, *id)
            .ok_or_else(|| Refusal::unknown("resourceids", &id.to_string()))?;
        may_change(state, &call.user, owner)?;
    }
    Ok((kind, ids))
}

pub(super) fn create(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (kind, ids) = resources(&cloud.state(), call)?;
    let tags = call.params.tags();
    if tags.is_empty() {
        return Err(call
            .params
            .required("tags")
            .map(drop)
            .err()
            .unwrap_or_else(|| unknown(&call.params, "tags")));
    }
    let job = cloud.submit(call, ("ResourceTag", Uuid::nil()), |work| async move {
        let _turn = work.at_once().await?;
        work.commit(|state| {
            for id in ids {
                let held = kind.tags(state, id)?;
                if let Some((key, _)) = tags.iter().find(|(key, _)| held.contains_key(key)) {
                    return Err(Refusal::runtime(format!(
                        "tag {key} already on the resource {id}"
                    )));
                }
                held.extend(
                    tags.iter()
                        .map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())),
                );
            }
            Ok(success())
        })
    })?;
    Ok(started(job))
}

/// Without a tag all go; without a value, whatever the value is.
pub(super) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (kind, ids) = resources(&cloud.state(), call)?;
    let tags = call.params.tags();
    let job = cloud.submit(call, ("ResourceTag", Uuid::nil()), |work| async move {
        let _turn = work.at_once().await?;
        work.commit(|state| {
            let goes = |key: &String, held: &String| {
                let mut named = tags.iter().filter(|(name, _)| name == key);
                tags.is_empty() || named.any(|(_, value)| value.as_ref().is_none_or(|value| value == held))
            };
            for id in ids {
                kind.tags(state, id)?.retain(|key, held| !goes(key, held));
            }
            Ok(success())
        })
    })?;
    Ok(started(job))
}

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let scope = Scope::of(call, &state)?;
    let params = &call.params;
    let (of, key, value) = (params.id("resourceid")?, params.get("key"), params.get("value"));
    let kind = params.get("resourcetype");
    let is_wanted = |resource: Uuid, owner: Uuid, name: &str| {
        scope.shows(owner)
            && of.is_none_or(|of| of == resource)
            && kind.is_none_or(|kind| kind.eq_ignore_ascii_case(name))
    };
    let passes = |(held_key, held): &(&String, &String)| {
        key.is_none_or(|key| key == *held_key) && value.is_none_or(|value| value == *held)
    };
    let volumes = state
        .volumes
        .all()
        .filter(|volume| !volume.removed && is_wanted(volume.id, volume.account, "Volume"));
    let of_volumes = volumes.map(|volume| view::tags(volume.tags.iter().filter(passes), volume.id, "Volume"));
    let snapshots = state.snapshots.values();
    let snapshots = snapshots
        .filter(|snapshot| !snapshot.removed && is_wanted(snapshot.id, snapshot.account, "Snapshot"));
    let of_snapshots =
        snapshots.map(|snapshot| view::tags(snapshot.tags.iter().filter(passes), snapshot.id, "Snapshot"));
    let all = of_volumes
        .chain(of_snapshots)
        .filter_map(|tags| tags.as_array().cloned())
        .flatten();
    let (shown, total) = page(params, all.collect())?;
    Ok(wire::list("tag", shown, total))
}
