//! What is struck: an operation of some kind, on its way through or on its way back.

use std::fs::File;
use std::process::Command;

use uuid::Uuid;
use volume_client::client::{ClientError, VolumedClient};
use volume_client::types::{
    AdoptVolume, AttachVolume, NewVolume, Operation, OperationKind, ResizeVolume, SnapshotId, VolumeId,
};

use crate::cloudstack::Fault;
use crate::{Chance, CloudSite};

const GIB: u64 = 1 << 30;

/// How an operation goes when nothing strikes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To its end.
    Through,
    /// The cloud refuses; it is undone.
    Refused,
    /// To its end, from a cloud that has the volume attached here already while its disk is out.
    Believed,
    /// What comes about is not what was asked for; it is undone from its last steps on.
    Spoilt,
}

/// An operation that is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// What it does.
    pub kind: OperationKind,
    /// How it goes.
    pub way: Way,
}

/// What an operation is asked of.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub(super) volume: Option<VolumeId>,
    pub(super) snapshot: Option<SnapshotId>,
    /// The cloud's id of a volume that is to be adopted.
    pub(super) stray: Option<Uuid>,
    pub(super) name: String,
}

impl Scenario {
    /// Every kind of operation, every way.
    #[must_use]
    pub fn all() -> Vec<Scenario> {
        use OperationKind::{
            Adopt, Attach, Correlate, Create, Delete, Detach, Resize, SnapshotCreate, SnapshotDelete,
            SnapshotRevert,
        };
        let kinds = [
            Create,
            Attach,
            Detach,
            Delete,
            Resize,
            Correlate,
            SnapshotCreate,
            SnapshotRevert,
            SnapshotDelete,
            Adopt,
        ];
        let ways = |kind| match kind {
            // It sends the cloud nothing that could be refused.
            Correlate => vec![Way::Through, Way::Spoilt],
            Attach => vec![Way::Through, Way::Believed, Way::Refused, Way::Spoilt],
            Detach => vec![Way::Through, Way::Refused, Way::Spoilt],
            // The cloud deletes at once, or not.
            Delete => vec![Way::Through],
            // Nothing is sent that could be refused.
            Adopt => vec![Way::Through, Way::Spoilt],
            _ => vec![Way::Through, Way::Refused],
        };
        kinds
            .into_iter()
            .flat_map(|kind| ways(kind).into_iter().map(move |way| Scenario { kind, way }))
            .collect()
    }

    /// The operation's name in points, as the daemon has it.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self.kind).expect("a kind has a name");
        name.as_str().unwrap_or_default().to_owned()
    }

    /// The change that it asks the cloud for.
    pub(super) fn command(self) -> &'static str {
        match self.kind {
            OperationKind::Create => "createVolume",
            OperationKind::Attach | OperationKind::Correlate | OperationKind::Adopt => "attachVolume",
            OperationKind::Detach => "detachVolume",
            OperationKind::Delete => "deleteVolume",
            OperationKind::Resize => "resizeVolume",
            OperationKind::SnapshotCreate => "createSnapshot",
            OperationKind::SnapshotRevert => "revertSnapshot",
            OperationKind::SnapshotDelete => "deleteSnapshot",
        }
    }

    /// Makes what it is asked of.
    pub(super) async fn prepare(self, site: &CloudSite, name: &str) -> Subject {
        let mut subject = Subject {
            name: name.to_owned(),
            ..Subject::default()
        };
        if self.kind == OperationKind::Create {
            return subject;
        }
        if self.kind == OperationKind::Adopt {
            let stranger = site.cloud.stranger();
            let made = stranger.create(name, 1).await;
            let made = made.expect("a stranger can make a volume");
            let attached = stranger.attach(made, site.cloud.vm_id()).await;
            attached.expect("a stranger can attach it");
            subject.stray = Some(made);
            return subject;
        }
        let daemon = &site.daemon;
        let volume = daemon.create(name, GIB).await.id;
        subject.volume = Some(volume);
        if matches!(self.kind, OperationKind::Attach | OperationKind::Delete) {
            return subject;
        }
        daemon.attach(volume).await;
        if matches!(
            self.kind,
            OperationKind::SnapshotRevert | OperationKind::SnapshotDelete
        ) {
            let client = daemon.client();
            let new = snapshot(name);
            let taken = client.create_snapshot_and_wait(volume, &new, super::strike::PATIENCE);
            taken.await.expect("a snapshot can be taken");
            let snapshots = client.list_snapshots(volume, &Default::default()).await;
            subject.snapshot = snapshots
                .expect("snapshots can be listed")
                .items
                .first()
                .map(|one| one.id);
            daemon.detach(volume).await;
        }
        subject
    }

    /// Brings about that it goes its way. What is returned has to be kept until it has ended.
    pub(super) async fn set_course(self, site: &CloudSite, subject: &Subject) -> Option<File> {
        let (faults, mut chance) = (site.cloud.faults(), Chance::from_seed(1));
        match (self.way, self.kind) {
            (Way::Through, _) => {}
            (Way::Believed, _) => {
                let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
                let cloud_id = site.cloud_id(subject.volume?).await;
                let attached = stranger.attach(cloud_id, vm).await;
                attached.expect("a stranger can attach it");
                let pulled = stranger.pull(vm, cloud_id).await;
                pulled.expect("and pull its disk out");
            }
            // A volume is there before its job is; only a quota keeps it from coming about.
            (Way::Refused, OperationKind::Create) => {
                site.cloud.change(|settings| settings.most_volumes = Some(0))
            }
            (Way::Refused, _) => {
                let refusal = Fault::FailInJob(531, "no permission, by order of a test".to_owned());
                faults.by_chance(self.command(), 1000, refusal, &mut chance);
            }
            (Way::Spoilt, OperationKind::Attach) => {
                faults.by_chance(self.command(), 1000, Fault::WrongSize(1 << 20), &mut chance);
            }
            // Somebody uses the device.
            (Way::Spoilt, OperationKind::Adopt) => {
                let disk = site.cloud.disk(subject.stray?)?;
                return laid_over(&site.hypervisor.node(&disk)?);
            }
            (Way::Spoilt, OperationKind::Detach) => {
                let node = site.node(subject.volume?).await?;
                return File::open(node).ok();
            }
            // Somebody has detached the volume in the cloud.
            (Way::Spoilt, _) => {
                let cloud_id = site.cloud_id(subject.volume?).await;
                let _ = site.cloud.stranger().detach(cloud_id).await;
            }
        }
        None
    }

    /// Asks for it.
    pub(super) async fn submit(
        self,
        client: &VolumedClient,
        vm: &str,
        subject: &Subject,
    ) -> Result<Operation, ClientError> {
        let volume = subject
            .volume
            .unwrap_or_else(|| VolumeId::from(uuid::Uuid::nil()));
        let of = subject
            .snapshot
            .unwrap_or_else(|| SnapshotId::from(uuid::Uuid::nil()));
        match self.kind {
            OperationKind::Create => {
                let new = NewVolume {
                    name: subject.name.clone(),
                    size_bytes: GIB,
                    source: None,
                };
                client.create_volume(&new).await
            }
            OperationKind::Attach => {
                let attach = AttachVolume { vm_id: vm.to_owned() };
                client.attach_volume(volume, &attach).await
            }
            OperationKind::Detach => client.detach_volume(volume).await,
            OperationKind::Delete => client.delete_volume(volume, Some(&subject.name)).await,
            OperationKind::Resize => {
                let larger = ResizeVolume { size_bytes: 2 * GIB };
                client.resize_volume(volume, &larger).await
            }
            OperationKind::Correlate => client.correlate_volume(volume).await,
            OperationKind::SnapshotCreate => client.create_snapshot(volume, &snapshot(&subject.name)).await,
            OperationKind::SnapshotRevert => client.revert_snapshot(volume, of).await,
            OperationKind::SnapshotDelete => client.delete_snapshot(volume, of).await,
            OperationKind::Adopt => {
                let adopt = AdoptVolume {
                    provider_volume_id: subject.stray.unwrap_or_default().to_string(),
                    name: subject.name.clone(),
                };
                client.adopt_volume(&adopt).await
            }
        }
    }
}

/// Lays a loop device over a device, which is a use of it for as long as what is returned is kept.
fn laid_over(node: &str) -> Option<File> {
    let losetup = |args: &[&str]| Command::new("losetup").args(args).output().ok();
    let over = losetup(&["--read-only", "--find", "--show", node])?;
    let over = String::from_utf8(over.stdout).ok()?;
    let held = File::open(over.trim()).ok();
    // It goes when nobody has it open any more.
    losetup(&["--detach", over.trim()])?;
    held
}

fn snapshot(name: &str) -> volume_client::types::NewSnapshot {
    volume_client::types::NewSnapshot {
        name: name.to_owned(),
    }
}
