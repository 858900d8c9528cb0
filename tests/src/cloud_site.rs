//! A whole site on one machine: the CloudStack of the tests, its hypervisor of loop devices, and the real daemon on it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use volume_client::types::{Finding, FindingKind, Volume, VolumeId};

use crate::cloudstack::{CloudStackServer, Setup};
use crate::{Appliance, LoopHypervisor, Unplug, wait_until};

/// How long a request to the cloud may take to arrive in these tests, in seconds: what nobody knows is known after that.
const EXPIRY: u32 = 3;

/// The site. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct CloudSite {
    /// The daemon and its place. It is stopped before the cloud is.
    pub daemon: Appliance,
    /// The cloud.
    pub cloud: CloudStackServer,
    /// What its VM's disks are plugged into.
    pub hypervisor: Arc<LoopHypervisor>,
}

impl CloudSite {
    /// A site whose daemon does not run yet; `None`, loudly, where this is not root.
    pub async fn new() -> Option<Self> {
        Self::with(|_| ()).await
    }

    /// The same with a cloud that is set up otherwise.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        let mut daemon = Appliance::new()?;
        let hypervisor = Arc::new(LoopHypervisor::new(Unplug::Lazy));
        let mut setup = Setup::on(hypervisor.clone());
        let storage = daemon.dir().join("primary-storage");
        std::fs::create_dir(&storage).unwrap();
        setup.storage = Some(storage);
        setup.settings.most_data_volumes = 64;
        change(&mut setup);
        let cloud = CloudStackServer::start(setup).await;
        configure(&mut daemon, &cloud);
        Some(Self {
            daemon,
            cloud,
            hypervisor,
        })
    }

    /// A site whose daemon is ready; `None`, loudly, where this is not root.
    pub async fn started() -> Option<Self> {
        let mut site = Self::new().await?;
        site.daemon.start().await;
        Some(site)
    }

    /// The volume's id in the cloud.
    pub async fn cloud_id(&self, id: VolumeId) -> Uuid {
        let volume: Volume = self.daemon.client().volume(id).await.unwrap();
        let text = volume.provider_volume_id.expect("a volume of the cloud's");
        text.parse().expect("CloudStack's ids are UUIDs")
    }

    /// The node of the volume's disk, where it is plugged in.
    pub async fn node(&self, id: VolumeId) -> Option<String> {
        let disk = self.cloud.disk(self.cloud_id(id).await)?;
        self.hypervisor.node(&disk)
    }

    /// Waits until the daemon has found this of the volume.
    pub async fn found(&self, id: VolumeId, kind: FindingKind) -> Finding {
        let what = format!("the finding {kind:?} of volume {id}");
        let client = self.daemon.client();
        wait_until(&what, Duration::from_secs(30), async || {
            let findings = client.list_findings(&Default::default()).await.unwrap().items;
            findings
                .into_iter()
                .find(|finding| finding.volume_id == Some(id) && finding.kind == kind)
        })
        .await
    }

    /// That the daemon broke no rule of dealing with the cloud so far.
    ///
    /// # Panics
    /// Where it did.
    pub fn assert_well_behaved(&self) {
        assert_eq!(self.cloud.violations(), []);
    }
}

fn configure(daemon: &mut Appliance, cloud: &CloudStackServer) {
    let credentials = daemon.dir().join("credentials.toml");
    write_credentials(&credentials, &cloud.api_key(), &cloud.secret_key());
    let vm = cloud.vm_id().to_string();
    let setup = &mut daemon.setup;
    setup.provider = "cloudstack";
    setup.vm.clone_from(&vm);
    setup.environment.extend([
        ("VOLUMED_CLOUDSTACK_URL", cloud.url()),
        (
            "VOLUMED_CLOUDSTACK_CREDENTIALS_FILE",
            credentials.display().to_string(),
        ),
        ("VOLUMED_CLOUDSTACK_ZONE", cloud.zone_id().to_string()),
        (
            "VOLUMED_CLOUDSTACK_DISK_OFFERING",
            cloud.offering_id().to_string(),
        ),
        ("VOLUMED_CLOUDSTACK_VM_ID", vm),
        ("VOLUMED_CLOUDSTACK_POLL_INTERVAL_MS", "20".to_owned()),
        ("VOLUMED_CLOUDSTACK_EXPIRY_SECONDS", EXPIRY.to_string()),
        ("VOLUMED_DEVICES_LOOP_SERIALS", "true".to_owned()),
    ]);
}

/// Writes the file that the provider takes its credentials from, for its owner only.
///
/// # Panics
/// Where it cannot be written.
pub fn write_credentials(path: &Path, api_key: &str, secret_key: &str) {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    writeln!(file, "api_key = \"{api_key}\"\nsecret_key = \"{secret_key}\"").unwrap();
}
