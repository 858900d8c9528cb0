//! Somebody else at work: in the user interface, at the hypervisor, or behind everybody's back in the database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::cloud::{Call, Cloud, Origin};
use super::commands;
use super::fault::{Drawn, Hold};
use super::job::JobState;
use super::refusal::Refusal;
use super::vm::Vm;
use super::volume::{Volume, VolumeState};
use super::wire::Params;
use crate::{Disk, Hypervisor, HypervisorError};

/// How long a stranger waits for a job.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(5);

/// Acts as the owner of what it touches, without the keys of any client. Its calls are not in the ledger.
#[derive(Debug, Clone)]
pub struct Stranger {
    cloud: Arc<Cloud>,
    handle: Handle,
}

impl Stranger {
    pub(super) fn new(cloud: Arc<Cloud>, handle: Handle) -> Self {
        Self { cloud, handle }
    }

    /// Adds a running VM of the first account on a host of its own.
    #[must_use]
    pub fn create_vm(&self, name: &str, hypervisor: Arc<dyn Hypervisor>) -> Uuid {
        self.add_vm(name, "mig", hypervisor, None)
    }

    /// Adds a running VM of this account.
    #[must_use]
    pub fn create_vm_of(&self, account: &str, name: &str, hypervisor: Arc<dyn Hypervisor>) -> Uuid {
        self.add_vm(name, account, hypervisor, None)
    }

    /// Adds a running VM of the first account on the host of another, where they wait for each other's disks.
    #[must_use]
    pub fn create_vm_beside(&self, other: Uuid, name: &str, hypervisor: Arc<dyn Hypervisor>) -> Uuid {
        self.add_vm(name, "mig", hypervisor, Some(other))
    }

    fn add_vm(
        &self,
        name: &str,
        account: &str,
        hypervisor: Arc<dyn Hypervisor>,
        beside: Option<Uuid>,
    ) -> Uuid {
        let vm = {
            let state = self.cloud.state();
            let account = state.accounts.iter().find(|known| known.name == account);
            let mut vm = Vm::new(name, account.expect("there is such an account").id, hypervisor);
            if let Some(other) = beside.and_then(|other| state.vms.get(&other)) {
                vm.host = Arc::clone(&other.host);
            }
            vm
        };
        let id = vm.id;
        self.cloud.add_vm(vm);
        id
    }

    /// Makes a volume of so many GiB under a name of the stranger's, and returns its id.
    ///
    /// # Errors
    /// What the server or the job says.
    ///
    /// # Panics
    /// Where the answer names no volume.
    pub async fn create(&self, name: &str, gib: u64) -> Result<Uuid, Refusal> {
        let places = &self.cloud.places;
        let params = [
            ("name", name.to_owned()),
            ("size", gib.to_string()),
            ("zoneid", places.zone.to_string()),
            ("diskofferingid", places.custom_offering.to_string()),
        ];
        let made = self.run("createVolume", &params).await?;
        let id = made["volume"]["id"].as_str().and_then(|text| text.parse().ok());
        Ok(id.expect("the job's result is the volume"))
    }

    /// Attaches a volume to a VM.
    ///
    /// # Errors
    /// What the job says.
    pub async fn attach(&self, volume: Uuid, vm: Uuid) -> Result<Value, Refusal> {
        self.run(
            "attachVolume",
            &[("id", volume.to_string()), ("virtualmachineid", vm.to_string())],
        )
        .await
    }

    /// Detaches a volume from wherever it is.
    ///
    /// # Errors
    /// What the job says.
    pub async fn detach(&self, volume: Uuid) -> Result<Value, Refusal> {
        self.run("detachVolume", &[("id", volume.to_string())]).await
    }

    /// Deletes a volume.
    ///
    /// # Errors
    /// What the server says.
    pub async fn delete(&self, volume: Uuid) -> Result<Value, Refusal> {
        self.run("deleteVolume", &[("id", volume.to_string())]).await
    }

    /// Resizes a volume to so many GiB.
    ///
    /// # Errors
    /// What the job says.
    pub async fn resize(&self, volume: Uuid, gib: u64) -> Result<Value, Refusal> {
        self.run(
            "resizeVolume",
            &[("id", volume.to_string()), ("size", gib.to_string())],
        )
        .await
    }

    /// Gives a volume another name.
    ///
    /// # Errors
    /// What the job says.
    pub async fn rename(&self, volume: Uuid, name: &str) -> Result<Value, Refusal> {
        self.run(
            "updateVolume",
            &[("id", volume.to_string()), ("name", name.to_owned())],
        )
        .await
    }

    /// Takes a snapshot of a VM, after which it neither gets nor loses a disk.
    ///
    /// # Errors
    /// What the job says.
    pub async fn snapshot_vm(&self, vm: Uuid) -> Result<Value, Refusal> {
        self.run("createVMSnapshot", &[("virtualmachineid", vm.to_string())])
            .await
    }

    /// Stops a VM.
    ///
    /// # Errors
    /// What the job says.
    pub async fn stop_vm(&self, vm: Uuid) -> Result<Value, Refusal> {
        self.run("stopVirtualMachine", &[("id", vm.to_string())]).await
    }

    /// Starts a VM.
    ///
    /// # Errors
    /// What the job says.
    pub async fn start_vm(&self, vm: Uuid) -> Result<Value, Refusal> {
        self.run("startVirtualMachine", &[("id", vm.to_string())]).await
    }

    /// Any command with these parameters, as the first account's owner; returns when its job has ended.
    ///
    /// # Errors
    /// What the server or the job says; a job that failed without a result has the text "no result".
    ///
    /// # Panics
    /// Where there is no such command, or the job does not end.
    pub async fn run(&self, command: &str, params: &[(&str, String)]) -> Result<Value, Refusal> {
        let command = commands::named(command).expect("there is such a command");
        let user = self.cloud.state().users[0].clone();
        let call = Call {
            command: command.name,
            params: Params::of(
                params
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone())),
            ),
            user,
            faults: Drawn::default(),
            origin: Origin::Stranger,
        };
        let answer = {
            let _of_the_server = self.handle.enter();
            command.run(&self.cloud, &call)?
        };
        let Some(job) = answer["jobid"].as_str().and_then(|text| text.parse().ok()) else {
            return Ok(answer);
        };
        self.outcome(job).await
    }

    /// The end of a job.
    async fn outcome(&self, job: Uuid) -> Result<Value, Refusal> {
        let began = Instant::now();
        loop {
            let state = self.cloud.state().job(job).map(|job| job.state.clone());
            match state {
                Some(JobState::Succeeded(result)) => return Ok(result),
                Some(JobState::Failed { code, result }) => {
                    let text = result.as_ref().and_then(|result| result["errortext"].as_str());
                    return Err(Refusal {
                        code,
                        class: None,
                        text: text.unwrap_or("no result").to_owned(),
                    });
                }
                Some(JobState::Pending) | None => {}
            }
            assert!(began.elapsed() < PATIENCE, "a stranger's job did not end");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Volumes of these names that were never attached, made at once; their ids in the order of the names.
    pub fn create_many(&self, names: impl Iterator<Item = String>, size: u64) -> Vec<Uuid> {
        let mut state = self.cloud.state();
        let (account, created) = (state.users[0].account, self.cloud.clock.now());
        let offering = Some(self.cloud.places.custom_offering);
        let make = |name| {
            let id = Uuid::new_v4();
            state.volumes.insert(Volume {
                id,
                name,
                account,
                is_root: false,
                state: VolumeState::Allocated,
                offering,
                size,
                attachment: None,
                created,
                tags: [].into(),
                removed: false,
            });
            id
        };
        names.map(make).collect()
    }

    /// Does what the server does by itself once a day: expunges what stuck in `Destroy` or `Expunging`.
    pub fn purge(&self) {
        let mut state = self.cloud.state();
        let stuck = |volume: &&Volume| matches!(volume.state, VolumeState::Destroy | VolumeState::Expunging);
        let ids: Vec<_> = state
            .volumes
            .all()
            .filter(stuck)
            .map(|volume| volume.id)
            .collect();
        for id in ids {
            let volume = state.volumes.edit(id).expect("it was just seen");
            (volume.state, volume.removed) = (VolumeState::Expunged, true);
            // A file that cannot be removed goes with the directory.
            let _ = self.cloud.storage.remove(id);
        }
    }

    /// Holds a VM's queue as a long job of somebody's does. Returns when the queue is held.
    pub async fn occupy(&self, vm: Uuid, hold: Hold) {
        let queue = self.cloud.state().vms.get(&vm).map(|vm| Arc::clone(&vm.queue));
        let held = queue.expect("there is such a VM").lock_owned().await;
        self.handle.spawn(async move {
            hold.wait().await;
            drop(held);
        });
    }

    /// Makes a phantom of an attached volume: the database says detached, the disk stays plugged in.
    pub fn forget_attachment(&self, volume: Uuid) {
        let mut state = self.cloud.state();
        state
            .volumes
            .edit(volume)
            .expect("there is such a volume")
            .attachment = None;
    }

    /// Pulls a disk out at the hypervisor, as `virsh detach-disk` does; the database is not told.
    ///
    /// # Errors
    /// Those of the hypervisor.
    pub async fn pull(&self, vm: Uuid, volume: Uuid) -> Result<(), HypervisorError> {
        let serial = self
            .cloud
            .state()
            .volumes
            .get(volume)
            .expect("there is such a volume")
            .serial();
        let disk = Disk {
            serial,
            image: self.cloud.file(volume),
        };
        self.hypervisor(vm).unplug(&disk, PATIENCE).await
    }

    /// Plugs a disk in that is no volume at all, with this serial and size in bytes, and returns it.
    ///
    /// # Errors
    /// Those of the hypervisor.
    pub async fn plug_foreign(&self, vm: Uuid, serial: &str, size: u64) -> Result<Disk, HypervisorError> {
        let id = Uuid::new_v4();
        let made = self.cloud.storage.resize(id, size);
        made.map_err(|refusal| HypervisorError::Refused(refusal.text))?;
        let image: PathBuf = self.cloud.file(id);
        let disk = Disk {
            serial: serial.to_owned(),
            image,
        };
        self.hypervisor(vm).plug(&disk).await?;
        Ok(disk)
    }

    /// What the hypervisor of a VM has plugged in.
    pub async fn plugged(&self, vm: Uuid) -> Vec<Disk> {
        self.hypervisor(vm).plugged().await
    }

    fn hypervisor(&self, vm: Uuid) -> Arc<dyn Hypervisor> {
        let state = self.cloud.state();
        Arc::clone(&state.vms.get(&vm).expect("there is such a VM").hypervisor)
    }
}
