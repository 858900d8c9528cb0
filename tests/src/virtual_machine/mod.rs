//! The virtual appliance: a machine of QEMU's that boots Debian's cloud kernel with our programs in it within seconds.
//!
//! The machine is an i440FX like those that CloudStack makes, emulated (TCG), so it runs everywhere and slowly: orders and
//! counts in the guest are what a real one shows, durations are not. Disks come and go through [`QemuHypervisor`]. The
//! guest's root is in its memory and new at each boot; `/var/lib/volumed` is a disk that stays. The guest's network is
//! QEMU's: the host's loopback is 10.0.2.2 for it, and what the host can reach outside, it can.
//!
//! One machine runs at a time, on a host: [`VirtualMachine::boot`] waits for its turn, also for one in the same process.

mod boot_image;
mod console;
mod cpio;
mod emulator;
mod error;
mod guest;
mod guest_files;
mod hypervisor;
mod libraries;
mod modules;
pub mod protocol;
mod qmp;
mod slots;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

pub use boot_image::is_bootable;
pub use emulator::STATE_SERIAL;
pub use error::MachineError;
pub use guest::{GuestCommand, GuestProcess};
pub use guest_files::MODULE_ORDER;
pub use hypervisor::{DiskBus, QemuHypervisor};
pub use qmp::QmpError;
pub use slots::{PluggableDisk, SLOTS};

use crate::{Chance, Outcome, run, wait_until};
use boot_image::BootImage;
use emulator::{Emulator, Hardware};
use guest::Guest;
use protocol::{AGENT_PORT, Ending};

/// How long a boot may take; alone on two cores it takes three seconds.
const BOOT: Duration = Duration::from_secs(120);

/// How long the daemon may take to be ready.
const DAEMON: Duration = Duration::from_secs(60);

/// The port of nbd-server, which every machine lets the host through to.
pub const NBD_PORT: u16 = 10809;

/// What the state's disk can hold.
const STATE_BYTES: u64 = 256 << 20;

const DAEMON_CONFIG: &str = "/etc/volumed/volumed.toml";
const DAEMON_LOG: &str = "/var/log/volumed.log";

/// How a machine is made.
#[derive(Debug, Clone)]
pub struct MachineSetup {
    /// The VM's id in the cloud, which the guest finds in `/sys/class/dmi/id/product_uuid`.
    pub uuid: Uuid,
    /// What its disks are attached by.
    pub bus: DiskBus,
    /// Its processors. Two show more races, and boot a little slower.
    pub processors: u8,
    /// Its memory, which its root is in, too.
    pub memory_mib: u32,
    /// Ports of the guest that the host can connect to, beside [`NBD_PORT`]; on the guest's side they must not be bound
    /// to loopback.
    pub forwarded: Vec<u16>,
    /// Whether a SCSI disk gets the first address that is free, as libvirt gives it. QEMU frees an address before the guest has
    /// noticed, which on a real host takes milliseconds, less than a cloud needs to attach the next disk; this emulated guest
    /// needs seconds. Therefore not, unless that is what is looked at.
    pub reuses_scsi_addresses: bool,
}

impl Default for MachineSetup {
    fn default() -> Self {
        Self {
            uuid: Uuid::new_v4(),
            bus: DiskBus::VirtioBlk,
            processors: 1,
            memory_mib: 768,
            forwarded: Vec::new(),
            reuses_scsi_addresses: false,
        }
    }
}

/// A machine that runs. Dropped, it is killed and its files are removed; where its guest broke, that is a panic then.
#[derive(Debug)]
pub struct VirtualMachine {
    hardware: Hardware,
    hypervisor: QemuHypervisor,
    /// `None` between two starts, and where the second one failed.
    emulator: Option<Arc<Emulator>>,
    boot_id: String,
    dir: TempDir,
    _turn: File,
}

impl VirtualMachine {
    /// Waits for its turn, makes a machine and boots it, until programs can be run in it.
    ///
    /// # Errors
    /// Where QEMU or the guest does not come up.
    ///
    /// # Panics
    /// Where it cannot be made; ask [`is_bootable`] before.
    pub async fn boot(setup: MachineSetup) -> Result<Self, MachineError> {
        let prepare = tokio::task::spawn_blocking(|| {
            let turn = turn();
            let image =
                BootImage::prepare().unwrap_or_else(|error| panic!("cannot prepare a boot: {error:#}"));
            (turn, image)
        });
        let (turn, image) = prepare.await.expect("what is under way is finished");
        let dir = tempfile::Builder::new().prefix("vm-").tempdir().unwrap();
        let hardware = Hardware {
            uuid: setup.uuid,
            memory_mib: setup.memory_mib,
            processors: setup.processors,
            forwarded: [AGENT_PORT, NBD_PORT]
                .into_iter()
                .chain(setup.forwarded)
                .collect(),
            image,
            dir: dir.path().to_owned(),
        };
        make_state(&hardware.state_image());
        let mut machine = Self {
            hardware,
            hypervisor: QemuHypervisor::new(setup.bus, setup.reuses_scsi_addresses),
            emulator: None,
            boot_id: String::new(),
            dir,
            _turn: turn,
        };
        machine.power_on().await?;
        Ok(machine)
    }

    async fn power_on(&mut self) -> Result<(), MachineError> {
        let disks = self.hypervisor.for_command_line();
        let (emulator, deleted) = Emulator::start(self.hardware.clone(), &disks).await?;
        self.hypervisor.take_over(emulator.qmp.clone(), deleted);
        self.emulator = Some(Arc::new(emulator));
        self.boot_id = self.guest().booted(None, BOOT).await?;
        Ok(())
    }

    fn power_off(&mut self) {
        self.hypervisor.let_go();
        if let Some(emulator) = self.emulator.take() {
            emulator.kill();
        }
    }

    fn emulator(&self) -> &Arc<Emulator> {
        self.emulator
            .as_ref()
            .expect("the machine was started; where that failed, only `power_cut` may follow")
    }

    fn guest(&self) -> Guest {
        Guest::of(Arc::clone(self.emulator()))
    }

    /// Where its disks come and go.
    #[must_use]
    pub fn hypervisor(&self) -> QemuHypervisor {
        self.hypervisor.clone()
    }

    /// The VM's id.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.hardware.uuid
    }

    /// Whether QEMU lives. Where it died by itself, nothing that failed meanwhile says anything about what was under test.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.emulator.as_ref().is_some_and(|emulator| emulator.is_alive())
    }

    /// Has QEMU die as it does by its own bugs.
    pub fn crash_emulator(&self) {
        self.emulator().kill();
    }

    /// What the guest's kernel wrote so far, in all boots.
    #[must_use]
    pub fn console_log(&self) -> String {
        self.hardware.console()
    }

    /// Where a test puts images: gone with the machine.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The address on the host's loopback that leads to a port of the guest's.
    ///
    /// # Panics
    /// Where the setup does not let the host through.
    #[must_use]
    pub fn forwarded(&self, port: u16) -> SocketAddr {
        let address = self.emulator().address_of(port);
        address.unwrap_or_else(|| panic!("the setup does not forward port {port}"))
    }

    /// A command for the guest.
    #[must_use]
    pub fn command<S: AsRef<str>>(&self, argv: &[S]) -> GuestCommand {
        self.guest().command(argv)
    }

    /// Runs a command in the guest that must succeed, and returns what it printed, trimmed.
    ///
    /// # Errors
    /// As [`GuestCommand::run`]; an exit code other than nought is one, too.
    pub async fn run<S: AsRef<str>>(&self, argv: &[S]) -> Result<String, MachineError> {
        let outcome = self.command(argv).run().await?;
        if outcome.code != Some(0) {
            let what = argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
            let why = format!("{outcome:#?}");
            return Err(MachineError::Refused { what, why });
        }
        Ok(outcome.stdout.trim().to_owned())
    }

    /// The content of a file in the guest.
    ///
    /// # Errors
    /// Where it cannot be read, or the guest not be reached.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, MachineError> {
        self.guest().read_file(path).await
    }

    /// Writes a file in the guest, readable to all, and the folders above it.
    ///
    /// # Errors
    /// Where it cannot be written, or the guest not be reached.
    pub async fn write_file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), MachineError> {
        self.guest().write_file(path, 0o644, content.as_ref()).await
    }

    /// Writes a file in the guest that only root may read.
    ///
    /// # Errors
    /// As [`Self::write_file`].
    pub async fn write_secret(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), MachineError> {
        self.guest().write_file(path, 0o600, content.as_ref()).await
    }

    /// Sends a signal to any process of the guest's.
    ///
    /// # Errors
    /// Where there is none of that id, or the guest cannot be reached.
    pub async fn signal(&self, pid: u32, signal: Signal) -> Result<(), MachineError> {
        self.guest().signal(pid, signal).await
    }

    /// Writes the daemon's configuration, starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// Where it ends, is not ready within a minute, or the guest cannot be reached.
    pub async fn start_daemon(&self, config: &str) -> Result<GuestProcess, MachineError> {
        self.start_daemon_with(config, &[]).await
    }

    /// As [`start_daemon`](Self::start_daemon), with variables (`NAME=VALUE`) in the daemon's environment.
    ///
    /// # Errors
    /// As [`start_daemon`](Self::start_daemon).
    pub async fn start_daemon_with(
        &self,
        config: &str,
        environment: &[&str],
    ) -> Result<GuestProcess, MachineError> {
        self.write_file(DAEMON_CONFIG, config).await?;
        self.write_file(DAEMON_LOG, "").await?;
        let argv = [&["env"], environment, &["volumed", "serve"]].concat();
        let daemon = self.command(&argv).start(DAEMON_LOG).await?;
        let what = "the daemon to be ready in the guest";
        let started = wait_until(what, DAEMON, async || self.look_at(&daemon).await.transpose()).await;
        started.map(|()| daemon)
    }

    async fn look_at(&self, daemon: &GuestProcess) -> Result<Option<()>, MachineError> {
        let Outcome { code, .. } = self.command(&["volumectl", "status"]).run().await?;
        if code == Some(0) {
            return Ok(Some(()));
        }
        if !daemon.is_running().await? {
            let what = "volumed serve".to_owned();
            let why = daemon.log().await?;
            return Err(MachineError::Refused { what, why });
        }
        Ok(None)
    }

    /// Has the guest end its programs and boot again; its disks stay in their slots.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn reboot(&mut self) -> Result<(), MachineError> {
        self.guest().end(Ending::Reboot).await?;
        self.boot_id = self.guest().booted(Some(&self.boot_id), BOOT).await?;
        Ok(())
    }

    /// Kills the machine in the middle of whatever it does, and starts it again with the same disks in the same slots.
    ///
    /// What the guest had not written to its disks is lost. What it had written is not, flushed or not: it is in the
    /// host's page cache, so a disk that forgets what was not flushed is not imitated.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn power_cut(&mut self) -> Result<(), MachineError> {
        self.power_off();
        self.power_on().await
    }

    /// Has the guest end, deals its disks to other slots, in another order, and starts it again.
    ///
    /// # Errors
    /// Where it does not end or not come up again.
    pub async fn reboot_with_slots_shuffled(&mut self, chance: &mut Chance) -> Result<(), MachineError> {
        self.guest().end(Ending::PowerOff).await?;
        let emulator = Arc::clone(self.emulator());
        // One that does not end by itself has written everything by now.
        let _ = tokio::time::timeout(DAEMON, emulator.ended()).await;
        self.power_off();
        self.hypervisor.shuffle(chance);
        self.power_on().await
    }

    /// Stops the guest's processors: it lets go of nothing, and no time passes in it.
    ///
    /// # Errors
    /// Where QEMU is gone.
    pub async fn pause(&self) -> Result<(), MachineError> {
        self.emulator().qmp.execute("stop", json!({})).await?;
        Ok(())
    }

    /// Lets the guest's processors go on. Its clock is late by the time that it stood still.
    ///
    /// # Errors
    /// Where QEMU is gone.
    pub async fn cont(&self) -> Result<(), MachineError> {
        self.emulator().qmp.execute("cont", json!({})).await?;
        Ok(())
    }
}

impl Drop for VirtualMachine {
    fn drop(&mut self) {
        self.power_off();
        let console = self.console_log();
        if std::thread::panicking() {
            eprintln!("the guest's console:\n{console}");
        } else if let Some(line) = console::trouble(&console) {
            panic!("the guest broke: {line}; its console:\n{console}");
        }
    }
}

/// Waits until no other machine runs, for as long as the file is open.
fn turn() -> File {
    let file = File::options()
        .create(true)
        .append(true)
        .open(boot_image::folder().join("turn"))
        .unwrap();
    file.lock().unwrap();
    file
}

fn make_state(image: &std::path::Path) {
    File::create(image).unwrap().set_len(STATE_BYTES).unwrap();
    let path = image.to_str().expect("temporary folders have plain names");
    run(
        "mkfs.ext4",
        ["-q", "-F", "-E", "lazy_itable_init=0,nodiscard", path],
    );
}
