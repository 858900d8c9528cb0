//! What every provider, and every wrapper of one, must do: one async function per property, panicking where it does not hold.
//!
//! A property makes its own volumes and takes them away again, so properties may run at once on one cloud.

mod attaching;
mod faults;
mod snapshots;
mod volumes;

use std::fmt::Debug;
use std::fs::File;
use std::future::Future;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

pub use attaching::*;
pub use faults::*;
pub use snapshots::*;
pub use volumes::*;

use super::{Call, Cloud, CloudError, NewVolume, ProviderSnapshot, ProviderState, ProviderVolume};
use crate::model::{Bytes, Identity};

/// How long the guest may take to see what the provider did.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How much of a device is written and read at a time.
pub const BLOCK: usize = 4096;

/// The kernel of the VM that volumes are attached to, asked by means that are not the provider's. Every method blocks, and
/// panics where the kernel says no. What is not said otherwise is asked of this machine's own kernel.
pub trait Guest: Send + Sync {
    /// The device nodes whose identity, as the kernel reports it, is this one.
    fn devices(&self, identity: &Identity) -> Vec<PathBuf>;

    /// The size of a device as its driver gives it.
    fn size(&self, device: &Path) -> Bytes {
        let mut file = File::open(device).expect("opening a device");
        Bytes(file.seek(SeekFrom::End(0)).expect("measuring a device"))
    }

    /// Writes a block full of `fill` durably.
    fn write(&self, device: &Path, offset: u64, fill: u8) {
        let file = File::options()
            .write(true)
            .open(device)
            .expect("opening a device for writing");
        file.write_all_at(&[fill; BLOCK], offset)
            .expect("writing to a device");
        file.sync_all().expect("flushing a device");
    }

    /// Reads a block.
    fn read(&self, device: &Path, offset: u64) -> [u8; BLOCK] {
        let mut block = [0xEE; BLOCK];
        let file = File::open(device).expect("opening a device");
        file.read_exact_at(&mut block, offset)
            .expect("reading from a device");
        block
    }
}

/// A cloud under test.
#[derive(Clone)]
pub struct Rig {
    /// The provider, or a wrapper of it.
    pub cloud: Arc<dyn Cloud>,
    /// The kernel of [`Cloud::own_vm`].
    pub guest: Arc<dyn Guest>,
    /// How names of volumes begin.
    pub prefix: String,
}

/// A property with its name.
pub type Property = (&'static str, fn(Rig) -> BoxFuture<'static, ()>);

macro_rules! properties {
    ($($name:ident),* $(,)?) => {
        /// Every property.
        pub const PROPERTIES: &[Property] = &[$((stringify!($name), |rig| Box::pin($name(rig)))),*];
    };
}

properties![
    a_created_volume_is_listed_everywhere,
    create_repeated_makes_one_volume,
    a_name_is_given_once,
    creates_of_one_name_at_once_make_one_volume,
    sizes_out_of_bounds_are_refused,
    names_that_cannot_be_shown_are_refused,
    what_does_not_exist_is_said_so,
    delete_repeated_succeeds,
    delete_refuses_an_attached_volume,
    attach_plugs_in_exactly_that_volume,
    attach_and_detach_repeated_change_nothing,
    attaches_of_one_volume_at_once_plug_in_one_device,
    volumes_attached_at_once_get_devices_of_their_own,
    another_vm_gets_nothing_and_takes_nothing,
    content_survives_a_move_to_another_device,
    resize_is_seen_by_the_device,
    resize_repeated_succeeds_and_shrinking_is_refused,
    a_detached_volume_can_be_resized,
    fresh_space_reads_as_promised,
    snapshot_repeated_is_the_first_one,
    revert_brings_content_and_size_back,
    revert_refuses_an_attached_volume,
    a_volume_with_snapshots_is_not_deleted,
    a_snapshot_of_a_volume_in_use_is_of_one_instant_or_refused,
    lost_requests_and_answers_are_healed_by_repeating_the_call,
];

/// Runs every property, one after the other.
pub async fn suite(rig: Rig) {
    for (name, property) in PROPERTIES {
        announce(name);
        property(rig.clone()).await;
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the suite is a test; its progress goes where tests write"
)]
fn announce(name: &str) {
    eprintln!("property: {name}");
}

impl Rig {
    /// A call that was never made before.
    #[must_use]
    pub fn call(&self) -> Call {
        Call {
            id: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// The smallest size of at least `mib` mebibytes that the provider takes.
    #[must_use]
    pub fn size(&self, mib: u64) -> Bytes {
        Bytes(mib << 20)
            .round_up_to(self.cloud.capabilities().size_unit)
            .expect("far below 64 bits")
    }

    fn spec(&self, mib: u64) -> NewVolume {
        NewVolume {
            name: format!("{}-{}", self.prefix, uuid::Uuid::new_v4()),
            size: self.size(mib),
        }
    }

    async fn created(&self, mib: u64) -> ProviderVolume {
        self.cloud
            .create_volume(&self.call(), &self.spec(mib))
            .await
            .expect("creating a volume")
    }

    /// A volume that has storage. Where that comes with the first attach, there is nothing to take a snapshot of before.
    async fn stored(&self, mib: u64) -> ProviderVolume {
        let volume = self.created(mib).await;
        self.give_storage(&volume).await;
        self.now(&volume).await
    }

    async fn give_storage(&self, volume: &ProviderVolume) {
        if volume.state == ProviderState::Allocated {
            self.attach(volume).await;
            self.detach(volume).await;
        }
    }

    async fn now(&self, volume: &ProviderVolume) -> ProviderVolume {
        self.cloud
            .volume(&volume.provider_ref)
            .await
            .expect("reading a volume")
            .expect("the volume exists")
    }

    async fn named(&self, name: &str) -> Vec<ProviderVolume> {
        self.cloud.volumes_named(name).await.expect("finding by name")
    }

    async fn snapshots(&self, provider_ref: &str) -> Vec<ProviderSnapshot> {
        self.cloud
            .snapshots(provider_ref)
            .await
            .expect("listing snapshots")
    }

    async fn attach(&self, volume: &ProviderVolume) -> PathBuf {
        let vm = self.cloud.own_vm().await.expect("knowing the own VM");
        self.cloud
            .attach(&self.call(), &volume.provider_ref, &vm)
            .await
            .expect("attaching a volume");
        self.device(volume).await
    }

    async fn detach(&self, volume: &ProviderVolume) {
        let vm = self.cloud.own_vm().await.expect("knowing the own VM");
        self.cloud
            .detach(&self.call(), &volume.provider_ref, &vm)
            .await
            .expect("detaching a volume");
        let identity = self.now(volume).await.identity;
        wait_until("the device of a detached volume is gone", || {
            identity
                .iter()
                .all(|identity| self.guest.devices(identity).is_empty())
        })
        .await;
    }

    /// The one device of an attached volume.
    async fn device(&self, volume: &ProviderVolume) -> PathBuf {
        let identity = self
            .now(volume)
            .await
            .identity
            .expect("an attached volume has an identity");
        wait_until("the device of an attached volume is there", || {
            !self.guest.devices(&identity).is_empty()
        })
        .await;
        let mut devices = self.guest.devices(&identity);
        assert_eq!(devices.len(), 1, "one volume, one device: {devices:?}");
        devices.remove(0)
    }

    /// Takes a volume away, whatever a property did with it.
    async fn scrap(&self, volume: &ProviderVolume) {
        let (cloud, id) = (&self.cloud, &volume.provider_ref);
        self.detach(volume).await;
        for snapshot in cloud.snapshots(id).await.expect("listing snapshots") {
            cloud
                .delete_snapshot(&self.call(), id, &snapshot.snapshot_ref)
                .await
                .expect("deleting a snapshot");
        }
        cloud
            .delete_volume(&self.call(), id)
            .await
            .expect("deleting a volume");
        assert_eq!(
            cloud.volume(id).await.expect("reading a volume"),
            None,
            "a deleted volume is gone"
        );
    }
}

/// Waits for a condition, panics when it never comes.
async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Asserts the kind of an error.
fn assert_kind<T: Debug>(answer: Result<T, CloudError>, kinds: &[&str], what: &str) {
    let kind = answer.as_ref().map_or_else(CloudError::kind, |_| "ok");
    assert!(
        kinds.contains(&kind),
        "{what}: expected one of {kinds:?}, got {answer:?}"
    );
}

/// Waits for both.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    futures_util::future::join(a, b).await
}
