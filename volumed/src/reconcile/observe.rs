//! Takes the three views of every volume at about the same time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::plan::{CloudView, KernelView, Views, VolumeViews};
use crate::cloud::{Cloud, CloudError, ProviderState, ProviderVolume};
use crate::device::{Disk, Inventory, InventoryFeed};
use crate::model::{Identity, VolumeId};
use crate::store::{self, MappingRecord, Store, StoreError, VolumeFilter, VolumeRecord};

/// How many volumes are read at a time.
const PAGE: u32 = 1000;

/// What cloud and kernel said at about the same time.
#[derive(Debug)]
pub struct Seen {
    own_vm: Option<String>,
    /// By the cloud's own ids; `None` where it did not answer.
    listed: Option<HashMap<String, ProviderVolume>>,
    inventory: Arc<Inventory>,
}

impl Seen {
    /// Asks a cloud that must answer.
    ///
    /// # Errors
    /// What the cloud said instead.
    pub async fn of(cloud: &dyn Cloud, feed: &InventoryFeed) -> Result<Self, CloudError> {
        let (own_vm, listed) = (cloud.own_vm().await?, cloud.volumes().await?);
        Ok(Self {
            own_vm: Some(own_vm),
            listed: Some(by_reference(listed)),
            inventory: feed.latest(),
        })
    }

    /// The cloud's volumes that the records do not know, deleted ones left out: its id and name of each.
    pub(super) fn unrecorded(&self, views: &Views) -> Vec<(String, String)> {
        let known: HashSet<_> = views
            .volumes
            .iter()
            .filter_map(|v| v.record.provider_ref.as_ref())
            .collect();
        let listed = self.listed.iter().flat_map(HashMap::values);
        listed
            .filter(|seen| seen.state != ProviderState::Destroyed && !known.contains(&seen.provider_ref))
            .map(|seen| (seen.provider_ref.clone(), seen.name.clone()))
            .collect()
    }
}

fn by_reference(volumes: Vec<ProviderVolume>) -> HashMap<String, ProviderVolume> {
    volumes.into_iter().map(|v| (v.provider_ref.clone(), v)).collect()
}

/// What record, cloud and kernel say of every volume. A cloud that does not answer is unknown, never empty.
pub(super) async fn views(
    store: &Store,
    cloud: &dyn Cloud,
    feed: &InventoryFeed,
) -> Result<Views, StoreError> {
    let own_vm = cloud.own_vm().await.ok();
    let listed = match cloud.volumes().await {
        Ok(volumes) => Some(by_reference(volumes)),
        Err(error) => {
            tracing::debug!(%error, "the cloud does not list its volumes");
            None
        }
    };
    let inventory = feed.latest();
    let seen = Seen {
        own_vm,
        listed,
        inventory,
    };
    // Records are read last: what an operation changed meanwhile shows as an open operation or as its result.
    Ok(beside(&seen, store.read(records).await?))
}

/// What the records say beside what cloud and kernel said.
pub(super) fn beside(seen: &Seen, (volumes, mappings, busy, unproven): Records) -> Views {
    let Seen {
        own_vm,
        listed,
        inventory,
    } = seen;
    let of = |volume: VolumeRecord| {
        let mapping = mappings.iter().find(|m| m.volume_id == volume.id).cloned();
        VolumeViews {
            cloud: cloud_view(&volume, listed.as_ref(), own_vm.as_deref()),
            kernel: kernel_view(&volume, mapping.as_ref(), inventory),
            busy: busy.contains(&volume.id),
            unproven: unproven.contains(&volume.id),
            mapping,
            record: volume,
        }
    };
    let strangers = strangers(&volumes, listed.as_ref(), inventory);
    Views {
        volumes: volumes.into_iter().map(of).collect(),
        strangers,
    }
}

/// The disks whose serial has the form that a cloud gives (20 hexadecimal digits), and that neither the records nor the
/// cloud know. Where the cloud does not answer, or devices are changing, nothing is said.
fn strangers(
    volumes: &[VolumeRecord],
    listed: Option<&HashMap<String, ProviderVolume>>,
    inventory: &Inventory,
) -> Vec<String> {
    let Some(listed) = listed.filter(|_| inventory.unsettled.is_empty()) else {
        return Vec::new();
    };
    let recorded = volumes.iter().filter_map(|v| v.identity.as_ref());
    let known: HashSet<&Identity> = listed
        .values()
        .filter_map(|v| v.identity.as_ref())
        .chain(recorded)
        .collect();
    let is_strange = |identity: &Identity| match identity {
        Identity::Serial(serial) => {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            serial.len() == 20 && serial.bytes().all(is_hex) && !known.contains(identity)
        }
        Identity::LoopBacking { .. } | Identity::Appeared(_) => false,
    };
    let named = |disk: &Disk| {
        let identity = disk.identity.as_ref().filter(|identity| is_strange(identity))?;
        Some(format!("{} {identity}", disk.node.display()))
    };
    inventory.disks.iter().filter_map(named).collect()
}

pub(super) type Records = (
    Vec<VolumeRecord>,
    Vec<MappingRecord>,
    Vec<VolumeId>,
    Vec<VolumeId>,
);

pub(super) fn records(conn: &rusqlite::Connection) -> Result<Records, StoreError> {
    let mut volumes: Vec<VolumeRecord> = Vec::new();
    loop {
        let after = volumes.last().map(|v| v.id);
        let page = store::volumes::list(
            conn,
            &VolumeFilter {
                after,
                ..VolumeFilter::default()
            },
            PAGE,
        )?;
        let last = page.len() < PAGE as usize;
        volumes.extend(page);
        if last {
            break;
        }
    }
    let busy = store::operations::all_open(conn)?
        .into_iter()
        .map(|op| op.volume_id)
        .collect();
    let unproven = store::restored::unproven(conn)?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    Ok((volumes, store::mappings::all_live(conn)?, busy, unproven))
}

fn cloud_view(
    volume: &VolumeRecord,
    listed: Option<&HashMap<String, ProviderVolume>>,
    own_vm: Option<&str>,
) -> CloudView {
    let (Some(listed), Some(own_vm), Some(provider_ref)) = (listed, own_vm, &volume.provider_ref) else {
        return CloudView::Unknown;
    };
    match listed.get(provider_ref) {
        None => CloudView::Gone,
        Some(seen) if seen.state == ProviderState::Destroyed => CloudView::Gone,
        Some(ProviderVolume {
            state: ProviderState::Busy(what),
            ..
        }) => CloudView::Busy(what.clone()),
        Some(seen) => match &seen.attached_to {
            None => CloudView::Detached,
            Some(vm) if vm == own_vm => CloudView::AttachedHere,
            Some(vm) => CloudView::AttachedElsewhere(vm.clone()),
        },
    }
}

fn kernel_view(
    volume: &VolumeRecord,
    mapping: Option<&MappingRecord>,
    inventory: &Arc<Inventory>,
) -> KernelView {
    let Some(identity) = &volume.identity else {
        return KernelView::Absent;
    };
    if !inventory.unsettled.is_empty() {
        return KernelView::Unsettled;
    }
    let disks: Vec<_> = inventory.carriers(identity).collect();
    let nodes = || {
        disks
            .iter()
            .map(|disk| disk.node.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match disks.as_slice() {
        [] => KernelView::Absent,
        [disk] => {
            let bound = mapping.map(|m| &m.observed);
            let holds = bound.is_some_and(|b| {
                b.boot_id == inventory.boot_id
                    && b.diskseq == disk.diskseq
                    && b.devnum == disk.devnum.to_string()
                    && b.device_path == disk.node.display().to_string()
            });
            match (holds, disk.size == volume.size) {
                (_, false) => KernelView::WrongSize {
                    node: nodes(),
                    size: disk.size,
                },
                (true, true) => KernelView::AsBound { node: nodes() },
                (false, true) => KernelView::Present {
                    node: nodes(),
                    diskseq: disk.diskseq,
                },
            }
        }
        _ => KernelView::Several { nodes: nodes() },
    }
}
