//! A site with a virtual appliance: the CloudStack of the tests plugs disks into QEMU, and the real daemon runs in the guest.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use uuid::Uuid;
use volume_client::types::{Operation, Volume, VolumeDevice, VolumeId};

use crate::Outcome;
use crate::cloudstack::{CloudStackServer, Setup};
use crate::virtual_machine::{GuestProcess, MachineError, MachineSetup, VirtualMachine, is_bootable};

/// Where the guest's daemon serves.
pub const SOCKET: &str = "/run/volumed/volumed.sock";

const CREDENTIALS: &str = "/etc/volumed/cloudstack";

/// How long an operation may take in a guest under emulation.
const PATIENCE: Duration = Duration::from_secs(120);

/// The site. Dropped, the machine is off and nothing of it is left.
#[derive(Debug)]
pub struct VirtualSite {
    /// The appliance. It is switched off before the cloud goes.
    pub machine: VirtualMachine,
    /// The cloud that owns it.
    pub cloud: CloudStackServer,
}

impl VirtualSite {
    /// A machine that has booted, and a cloud beside it; no daemon runs yet. `None`, loudly, where no machine can boot here.
    ///
    /// # Errors
    /// Where the machine does not come up.
    pub async fn boot(setup: MachineSetup) -> Result<Option<Self>, MachineError> {
        if !is_bootable() {
            return Ok(None);
        }
        let vm = setup.uuid;
        let machine = VirtualMachine::boot(setup).await?;
        let mut setup = Setup::on(Arc::new(machine.hypervisor()));
        setup.vm = Some(vm);
        setup.settings.most_data_volumes = 16;
        // QEMU is asked, and says so by itself.
        setup.settings.unplug_pends = Duration::ZERO;
        setup.storage = Some(machine.dir().join("primary-storage"));
        std::fs::create_dir(machine.dir().join("primary-storage")).unwrap();
        let cloud = CloudStackServer::start(setup).await;
        Ok(Some(Self { machine, cloud }))
    }

    /// Starts the daemon in the guest, and waits until it is ready. `more` is added to its configuration.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn start_daemon(&self, more: &str) -> Result<GuestProcess, MachineError> {
        self.start_daemon_with(more, &[]).await
    }

    /// As [`start_daemon`](Self::start_daemon), with variables (`NAME=VALUE`) in the daemon's environment.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn start_daemon_with(
        &self,
        more: &str,
        environment: &[&str],
    ) -> Result<GuestProcess, MachineError> {
        let keys = format!(
            "api_key = \"{}\"\nsecret_key = \"{}\"\n",
            self.cloud.api_key(),
            self.cloud.secret_key()
        );
        self.machine.write_secret(CREDENTIALS, keys).await?;
        // The host's loopback, as the guest sees it.
        let url = self.cloud.url().replace("127.0.0.1", "10.0.2.2");
        let mut config = format!(
            "provider = \"cloudstack\"\nsocket = \"{SOCKET}\"\n{more}\nlog.level = \"debug\"\n[cloudstack]\n"
        );
        for (key, value) in [
            ("url", url),
            ("credentials_file", CREDENTIALS.to_owned()),
            ("zone", self.cloud.zone_id().to_string()),
            ("disk_offering", self.cloud.offering_id().to_string()),
        ] {
            let _ = writeln!(config, "{key} = \"{value}\"");
        }
        config.push_str("allow_http = true\npoll_interval_ms = 100\nexpiry_seconds = 20\n");
        self.machine.start_daemon_with(&config, environment).await
    }

    /// Runs `volumectl` in the guest and reads its JSON.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    ///
    /// # Panics
    /// Where it fails, or says something else.
    pub async fn volumectl<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, MachineError> {
        let outcome = self.try_volumectl(arguments).await?;
        assert_eq!(outcome.code, Some(0), "volumectl {arguments:?}: {outcome:?}");
        let read = serde_json::from_str(&outcome.stdout);
        Ok(read.unwrap_or_else(|error| panic!("volumectl {arguments:?}: {error}: {}", outcome.stdout)))
    }

    /// Runs `volumectl` in the guest, whatever comes of it.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn try_volumectl(&self, arguments: &[&str]) -> Result<Outcome, MachineError> {
        let argv = [&["volumectl", "--json"], arguments].concat();
        self.machine.command(&argv).within(PATIENCE).run().await
    }

    /// Creates a volume of so many bytes.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn create(&self, name: &str, bytes: u64) -> Result<VolumeId, MachineError> {
        let size = bytes.to_string();
        let volume: Volume = self
            .volumectl(&["volumes", "create", name, "--size", &size])
            .await?;
        Ok(volume.id)
    }

    /// Attaches a volume and returns its device, as the daemon verified it.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn attach(&self, id: VolumeId) -> Result<VolumeDevice, MachineError> {
        let _: serde_json::Value = self.volumectl(&["attach", &id.to_string()]).await?;
        self.device(id).await
    }

    /// The volume's device, as the daemon verifies it now.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn device(&self, id: VolumeId) -> Result<VolumeDevice, MachineError> {
        self.volumectl(&["device", &id.to_string()]).await
    }

    /// Detaches a volume.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn detach(&self, id: VolumeId) -> Result<Operation, MachineError> {
        self.volumectl(&["detach", &id.to_string()]).await
    }

    /// The volume's id in the cloud.
    ///
    /// # Errors
    /// Where the guest cannot be reached.
    pub async fn cloud_id(&self, id: VolumeId) -> Result<Uuid, MachineError> {
        let volume: Volume = self.volumectl(&["volumes", "show", &id.to_string()]).await?;
        let text = volume.provider_volume_id.expect("a volume of the cloud's");
        Ok(text.parse().expect("CloudStack's ids are UUIDs"))
    }
}
