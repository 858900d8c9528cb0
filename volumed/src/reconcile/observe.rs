//! Takes the three views of every volume at about the same time, and looks for what has no record.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::plan::{Stranger, Views, VolumeViews};
use super::strays::{Known, strays};
use super::users::Users;
use super::view::{bound_disk, cloud_view, kernel_view};
use crate::cloud::{Cloud, CloudError, ProviderVolume};
use crate::device::{Disk, Inventory, InventoryFeed};
use crate::model::{Identity, VolumeId, VolumeState};
use crate::operation::Operations;
use crate::store::{self, LeaseRecord, MappingRecord, Store, StoreError, VolumeFilter, VolumeRecord};

/// How many volumes are read at a time.
const PAGE: u32 = 1000;

/// What the cloud lists, by its own ids.
pub(super) type Listed = HashMap<String, ProviderVolume>;

/// What cloud and kernel said at about the same time. A cloud that did not answer is unknown, never empty.
#[derive(Debug)]
pub struct Seen {
    own_vm: Option<String>,
    listed: Option<Listed>,
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

    /// Asks a cloud that may not answer.
    async fn as_far_as_told(cloud: &dyn Cloud, feed: &InventoryFeed) -> Self {
        let own_vm = cloud.own_vm().await.ok();
        let listed = match cloud.volumes().await {
            Ok(volumes) => Some(by_reference(volumes)),
            Err(error) => {
                tracing::debug!(%error, "the cloud does not list its volumes");
                None
            }
        };
        Self {
            own_vm,
            listed,
            inventory: feed.latest(),
        }
    }

    /// The cloud's ids of what it lists.
    pub(super) fn references(&self) -> Vec<String> {
        self.listed.iter().flat_map(Listed::keys).cloned().collect()
    }
}

fn by_reference(volumes: Vec<ProviderVolume>) -> Listed {
    volumes.into_iter().map(|v| (v.provider_ref.clone(), v)).collect()
}

/// What the records say beside what cloud and kernel said. Who uses a device is not looked at.
pub(super) fn beside(
    seen: &Seen,
    records: &Records,
    named_by_us: impl Fn(&str) -> Option<VolumeId>,
    at: Timestamp,
) -> Views {
    let (listed, own_vm) = (seen.listed.as_ref(), seen.own_vm.as_deref());
    let strays = match (listed, own_vm) {
        (Some(listed), Some(own_vm)) => strays(
            listed.values(),
            &records.known(),
            own_vm,
            named_by_us,
            &seen.inventory,
        ),
        _ => Vec::new(),
    };
    let views = |volume: &VolumeRecord| {
        let mapping = records.mapping(volume.id);
        let cloud = cloud_view(volume, listed, own_vm);
        VolumeViews {
            kernel: kernel_view(volume, mapping, &cloud, &seen.inventory),
            cloud,
            busy: records.busy.contains(&volume.id),
            unproven: records.unproven.contains(&volume.id),
            leases: records.leases_of(volume.id),
            users: None,
            mapping: mapping.cloned(),
            record: volume.clone(),
        }
    };
    Views {
        volumes: records.volumes.iter().map(views).collect(),
        strays,
        strangers: strangers(&records.volumes, listed, &seen.inventory),
        cloud_answered: listed.is_some() && own_vm.is_some(),
        devices_settled: seen.inventory.unsettled.is_empty(),
        at,
    }
}

/// Where views are taken.
pub(super) struct Sources<'a> {
    pub(super) store: &'a Store,
    pub(super) cloud: &'a dyn Cloud,
    pub(super) feed: &'a InventoryFeed,
    pub(super) operations: &'a Operations,
    pub(super) users: &'a Users,
}

/// What record, cloud and kernel say of every volume.
pub(super) async fn views(of: &Sources<'_>) -> Result<Views, StoreError> {
    let seen = Seen::as_far_as_told(of.cloud, of.feed).await;
    let listed = seen.references();
    // Records are read last: what an operation changed meanwhile shows as an open operation or as its result.
    let records = of.store.read(move |conn| Records::read(conn, &listed)).await?;
    let mut views = beside(
        &seen,
        &records,
        |name| of.operations.named_by_us(name),
        of.store.now(),
    );
    let disks: HashMap<VolumeId, Disk> = views
        .volumes
        .iter()
        .filter_map(|volume| {
            let disk = bound_disk(&volume.record, volume.mapping.as_ref()?, &seen.inventory)?;
            Some((volume.record.id, disk.clone()))
        })
        .collect();
    let looked_at: HashMap<_, _> = disks.iter().map(|(id, disk)| (*id, disk.diskseq)).collect();
    let users = of.users.of(&seen.inventory, disks).await;
    for volume in &mut views.volumes {
        let id = volume.record.id;
        let plug_in = looked_at.get(&id).map(|diskseq| (id, *diskseq));
        volume.users = plug_in.and_then(|plug_in| users.get(&plug_in).cloned());
    }
    Ok(views)
}

/// What the views say of one volume, and the disk that it is bound to.
pub(super) async fn view(
    of: &Sources<'_>,
    id: VolumeId,
) -> Result<Option<(VolumeViews, Option<Disk>)>, StoreError> {
    let volume = of.store.read(move |conn| store::volumes::get(conn, id)).await?;
    let Some(volume) = volume.filter(|volume| volume.state != VolumeState::Deleted) else {
        return Ok(None);
    };
    let own_vm = of.cloud.own_vm().await.ok();
    let seen = match &volume.provider_ref {
        Some(provider_ref) => of.cloud.volume(provider_ref).await.ok(),
        None => None,
    };
    let listed = seen.map(|seen| Listed::from_iter(seen.map(|v| (v.provider_ref.clone(), v))));
    let inventory = of.feed.latest();
    let read = of.store.read(move |conn| {
        Ok((
            store::volumes::get(conn, id)?,
            store::mappings::live(conn, id)?,
            store::leases::live_of(conn, id)?,
            store::operations::open_for(conn, id)?.is_some(),
            store::restored::is_unproven(conn, id)?,
        ))
    });
    let (record, mapping, leases, busy, unproven) = read.await?;
    let Some(record) = record else { return Ok(None) };
    let disk = mapping
        .as_ref()
        .and_then(|mapping| bound_disk(&record, mapping, &inventory))
        .cloned();
    let cloud = cloud_view(&record, listed.as_ref(), own_vm.as_deref());
    let views = VolumeViews {
        kernel: kernel_view(&record, mapping.as_ref(), &cloud, &inventory),
        cloud,
        busy,
        unproven,
        leases,
        users: None,
        mapping,
        record,
    };
    Ok(Some((views, disk)))
}

/// The disks whose serial has the form that a cloud gives (20 hexadecimal digits), and that neither the records nor the
/// cloud know. Where the cloud does not answer, or devices are changing, nothing is said.
fn strangers(volumes: &[VolumeRecord], listed: Option<&Listed>, inventory: &Inventory) -> Vec<Stranger> {
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
        Some(Stranger {
            identity: identity.to_string(),
            node: disk.node.display().to_string(),
        })
    };
    inventory.disks.iter().filter_map(named).collect()
}

/// What the records say, read in one go.
pub(super) struct Records {
    volumes: Vec<VolumeRecord>,
    mappings: HashMap<VolumeId, MappingRecord>,
    leases: Vec<LeaseRecord>,
    busy: HashSet<VolumeId>,
    /// Of a restored database, and not compared since.
    unproven: HashSet<VolumeId>,
    deleted: HashMap<String, VolumeId>,
}

impl Records {
    /// `listed`: the cloud's ids of which it is asked whether we deleted them.
    pub(super) fn read(conn: &rusqlite::Connection, listed: &[String]) -> Result<Self, StoreError> {
        let mut volumes: Vec<VolumeRecord> = Vec::new();
        loop {
            let after = volumes.last().map(|v| v.id);
            let filter = VolumeFilter {
                after,
                ..VolumeFilter::default()
            };
            let page = store::volumes::list(conn, &filter, PAGE)?;
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
        let mappings = store::mappings::all_live(conn)?
            .into_iter()
            .map(|mapping| (mapping.volume_id, mapping))
            .collect();
        let mut deleted = HashMap::new();
        let recorded: HashSet<_> = volumes.iter().filter_map(|v| v.provider_ref.as_ref()).collect();
        for provider_ref in listed.iter().filter(|of| !recorded.contains(of)) {
            if let Some(tombstone) = store::volumes::by_provider_ref(conn, provider_ref)? {
                deleted.insert(provider_ref.clone(), tombstone.id);
            }
        }
        drop(recorded);
        Ok(Self {
            leases: store::leases::list(conn, None, u32::MAX)?,
            volumes,
            mappings,
            busy,
            unproven: store::restored::unproven(conn)?
                .into_iter()
                .map(|(id, _)| id)
                .collect(),
            deleted,
        })
    }

    fn mapping(&self, id: VolumeId) -> Option<&MappingRecord> {
        self.mappings.get(&id)
    }

    fn leases_of(&self, id: VolumeId) -> Vec<LeaseRecord> {
        self.leases
            .iter()
            .filter(|lease| lease.volume_id == id)
            .cloned()
            .collect()
    }

    fn known(&self) -> Known {
        let has_reference = |volume: &&VolumeRecord| volume.provider_ref.is_some();
        let recorded = self.volumes.iter().filter(has_reference);
        let recorded: HashSet<_> = recorded.map(|volume| volume.id).collect();
        let ids = self.volumes.iter().map(|volume| volume.id);
        let known = ids.chain(self.busy.iter().copied());
        Known {
            provider_refs: self
                .volumes
                .iter()
                .filter_map(|volume| volume.provider_ref.clone())
                .collect(),
            in_the_making: known.filter(|id| !recorded.contains(id)).collect(),
            recorded,
            deleted: self.deleted.clone(),
        }
    }
}
