//! What the cloud has and no record is of: pure.
//!
//! A volume that is attached to this VM concerns us whosever it is, and so does one of our own name. Other people's volumes
//! that are attached to nothing, or elsewhere, are none of our business, and a root disk is never one of ours.

use std::collections::{HashMap, HashSet};

use volume_client::types::{FindingKind, FindingRepair, Severity};

use super::finding::{Disagreement, Subject};
use crate::cloud::{ProviderState, ProviderVolume};
use crate::device::Inventory;
use crate::model::VolumeId;

/// What is recorded, as far as it tells which volumes of the cloud's are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The provider's ids of the volumes that are not deleted.
    pub(super) provider_refs: HashSet<String>,
    /// Our ids of the volumes that are recorded with the provider's.
    pub(super) recorded: HashSet<VolumeId>,
    /// Our ids of the volumes of which the provider's is not known yet: they are being made, or an operation is under way.
    pub(super) in_the_making: HashSet<VolumeId>,
    /// The provider's ids of volumes that we deleted.
    pub(super) deleted: HashMap<String, VolumeId>,
}

/// A volume that the cloud has and no record is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) provider_ref: String,
    /// Its name there.
    pub(super) name: String,
    /// Our id, where its name, or the tombstone of a record, says that it was ours.
    pub(super) ours: Option<VolumeId>,
    /// Whether the record of that id is of another volume of the provider's, as where the request to make it came twice.
    pub(super) is_second: bool,
    pub(super) place: Place,
    /// The nodes that carry its identity.
    pub(super) nodes: Vec<String>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Attached to this VM.
    Here,
    /// Attached to another VM.
    Elsewhere(String),
    /// Attached to nothing.
    Nowhere,
    /// Deleted, and not purged.
    Leftover,
}

/// The strays among what the cloud lists.
pub(super) fn strays<'a>(
    listed: impl Iterator<Item = &'a ProviderVolume>,
    known: &Known,
    own_vm: &str,
    named_by_us: impl Fn(&str) -> Option<VolumeId>,
    inventory: &Inventory,
) -> Vec<Stray> {
    let mut found: Vec<Stray> = listed
        .filter(|volume| !volume.is_root && !known.provider_refs.contains(&volume.provider_ref))
        .filter_map(|volume| {
            let named = named_by_us(&volume.name);
            // Being made, or being undone: its operation knows it by its name.
            if named.is_some_and(|id| known.in_the_making.contains(&id)) {
                return None;
            }
            let ours = named.or_else(|| known.deleted.get(&volume.provider_ref).copied());
            let place = match (&volume.attached_to, &volume.state) {
                (_, ProviderState::Destroyed) => Place::Leftover,
                (Some(vm), _) if vm == own_vm => Place::Here,
                (Some(vm), _) => Place::Elsewhere(vm.clone()),
                (None, _) => Place::Nowhere,
            };
            let concerns_us = place == Place::Here || ours.is_some();
            let carriers = volume
                .identity
                .iter()
                .flat_map(|identity| inventory.carriers(identity));
            concerns_us.then(|| Stray {
                provider_ref: volume.provider_ref.clone(),
                name: volume.name.clone(),
                ours,
                is_second: named.is_some_and(|id| known.recorded.contains(&id)),
                place,
                nodes: carriers.map(|disk| disk.node.display().to_string()).collect(),
            })
        })
        .collect();
    found.sort_unstable_by(|a, b| a.provider_ref.cmp(&b.provider_ref));
    found
}

/// What a stray is found to be.
pub(super) fn of_stray(of: &Stray) -> Disagreement {
    let adopt = Some(FindingRepair::Adopt);
    let (kind, severity, cloud, advice, repair) = match (&of.place, of.ours) {
        (Place::Here, _) => (
            FindingKind::AttachedUnknown,
            Severity::Warning,
            "attached here".to_owned(),
            "`volumectl orphans adopt` makes a record of it and takes its device over; or detach it in the cloud",
            adopt,
        ),
        (Place::Leftover, _) => (
            FindingKind::StuckInCloud,
            Severity::Warning,
            "deleted, and not purged".to_owned(),
            "the cloud has not got rid of it: have its storage looked at, and the volume expunged there; it takes up room till \
             then",
            None,
        ),
        (Place::Elsewhere(vm), _) => (
            FindingKind::Unrecorded,
            Severity::Info,
            format!("attached to VM `{vm}`"),
            "a volume of ours that is in use elsewhere; where that is meant, `volumectl orphans ignore`",
            None,
        ),
        (Place::Nowhere, _) => (
            FindingKind::Unrecorded,
            Severity::Warning,
            "attached to nothing".to_owned(),
            "what is on it is not known, so it is never deleted by itself: `volumectl orphans adopt` makes a record of it, and \
             then it can be looked into, or deleted",
            adopt,
        ),
    };
    let record = match of.ours {
        Some(id) if of.is_second => format!("no record; that of its name, {id}, is of another volume"),
        Some(id) => format!("no record; it was ours, as {id}"),
        None => "no record".to_owned(),
    };
    Disagreement {
        kind,
        severity,
        subject: Subject::Provider(of.provider_ref.clone()),
        record,
        cloud: format!("`{}`, {cloud}", of.name),
        kernel: match of.nodes.is_empty() {
            true => "no device".to_owned(),
            false => of.nodes.join(", "),
        },
        advice: advice.to_owned(),
        repair,
    }
}

#[cfg(test)]
#[path = "strays_tests.rs"]
mod tests;
