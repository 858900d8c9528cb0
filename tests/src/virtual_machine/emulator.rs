//! One process of QEMU: its command line, its birth, its end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::boot_image::{BootImage, QEMU};
use super::console;
use super::error::MachineError;
use super::qmp::{DeviceDeleted, Qmp, QmpError};

/// The serial of the disk that the guest mounts on `/var/lib/volumed`.
pub const STATE_SERIAL: &str = "appliance-state";

/// How long QEMU may take to greet; it has done nothing of the guest's by then.
const GREETING: Duration = Duration::from_secs(30);

/// What the kernel is told: a console, no waiting for a person, and a fault of its own is fatal and seen. It does not test the
/// timer: on a host that is busy an emulated one is late, and the kernel takes that for a broken one.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 quiet oops=panic panic=0 nowatchdog no_timer_check net.ifnames=0";

/// Not `restrict=on`: it would hide the host's loopback (10.0.2.2), where the cloud is that the guest asks.
const NETWORK: &str = "user,id=net,ipv6=off";

/// How a machine is made, the same at each start.
#[derive(Debug, Clone)]
pub(super) struct Hardware {
    pub(super) uuid: Uuid,
    pub(super) memory_mib: u32,
    pub(super) processors: u8,
    /// Ports of the guest that the host is let through to.
    pub(super) forwarded: Vec<u16>,
    pub(super) image: BootImage,
    /// Where its files are.
    pub(super) dir: PathBuf,
}

impl Hardware {
    pub(super) fn state_image(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(super) fn console(&self) -> String {
        let bytes = fs::read(self.dir.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn said(&self) -> String {
        let bytes = fs::read(self.dir.join("complaints")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    fn command(&self, disks: &[(Value, Value)]) -> Command {
        let in_dir = |name: &str| self.dir.join(name).display().to_string();
        let forwards: String = self
            .forwarded
            .iter()
            .map(|port| format!(",hostfwd=tcp:127.0.0.1:0-:{port}"))
            .collect();
        let mut command = Command::new(QEMU);
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-machine", "pc,usb=off,vmport=off", "-accel", "tcg"])
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-smp", &self.processors.to_string()])
            .args(["-uuid", &self.uuid.to_string()])
            // What CloudStack's agent writes into its domains.
            .args([
                "-smbios",
                "type=1,manufacturer=Apache Software Foundation,product=CloudStack KVM Hypervisor",
            ])
            .arg("-kernel")
            .arg(&self.image.kernel)
            .arg("-initrd")
            .arg(&self.image.root)
            .args(["-append", KERNEL_ARGUMENTS])
            .args([
                "-chardev",
                &format!("file,id=console,append=on,path={}", in_dir("console")),
            ])
            .args(["-serial", "chardev:console"])
            .args(["-qmp", &format!("unix:{}", in_dir("qmp"))])
            .args(["-netdev", &format!("{NETWORK}{forwards}")]);
        for device in fixed_devices() {
            command.args(["-device", &device.to_string()]);
        }
        let state = state_disk(&self.state_image());
        for (backend, device) in [&state].into_iter().chain(disks) {
            command
                .args(["-blockdev", &backend.to_string()])
                .args(["-device", &device.to_string()]);
        }
        command
    }
}

/// What every machine has, in slots below those of the disks.
fn fixed_devices() -> [Value; 3] {
    [
        json!({"driver": "virtio-net-pci", "netdev": "net", "bus": "pci.0", "addr": "0x2", "romfile": ""}),
        json!({"driver": "virtio-rng-pci", "bus": "pci.0", "addr": "0x4"}),
        json!({"driver": "virtio-scsi-pci", "id": "scsi0", "bus": "pci.0", "addr": "0x5"}),
    ]
}

fn state_disk(image: &Path) -> (Value, Value) {
    let backend = raw_image("state", image);
    let device = json!({"driver": "virtio-blk-pci", "drive": "state", "serial": STATE_SERIAL, "bus": "pci.0", "addr": "0x3"});
    (backend, device)
}

/// A raw image as a block node. Its writes go into the host's page cache and to the disk at a flush of the guest's.
pub(super) fn raw_image(node: &str, image: &Path) -> Value {
    json!({"driver": "raw", "node-name": node, "file": {"driver": "file", "filename": image}})
}

/// A running QEMU. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Emulator {
    hardware: Hardware,
    process: OwnedFd,
    /// Waits for the process, so that it is no zombie, and says how it ended.
    undertaker: Mutex<Option<Undertaker>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    pub(super) qmp: Qmp,
    ports: Vec<(u16, SocketAddr)>,
}

impl Emulator {
    /// Starts QEMU with these disks in it, and what tells of those that leave.
    pub(super) async fn start(
        hardware: Hardware,
        disks: &[(Value, Value)],
    ) -> Result<(Self, mpsc::Receiver<DeviceDeleted>), MachineError> {
        let socket = hardware.dir.join("qmp");
        // The one of a former start.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(MachineError::host("cannot listen for QEMU"))?;
        let (process, undertaker, ended) = spawn(&hardware, disks)?;
        // From here on, whatever fails kills it.
        let mut half = Unborn {
            process: Some((process, undertaker)),
        };
        let greeted = tokio::time::timeout(GREETING, async {
            let (stream, _) = listener.accept().await?;
            Qmp::greet(stream).await
        });
        let mut end = ended.clone();
        let (qmp, deleted) = tokio::select! {
            greeted = greeted => greeted
                .map_err(std::io::Error::from)
                .and_then(|greeted| greeted)
                .map_err(MachineError::host("QEMU does not greet"))?,
            status = end.wait_for(Option::is_some) => return Err(died(&hardware, status.ok().and_then(|status| *status))),
        };
        let ports = forwarded_ports(&qmp).await?;
        let (process, undertaker) = half.process.take().expect("nobody else takes it");
        let emulator = Self {
            hardware,
            process,
            undertaker: Mutex::new(Some(undertaker)),
            ended,
            qmp,
            ports,
        };
        Ok((emulator, deleted))
    }

    /// Where the host reaches a port of the guest's.
    pub(super) fn address_of(&self, port: u16) -> Option<SocketAddr> {
        let found = self.ports.iter().find(|(guest, _)| *guest == port);
        found.map(|(_, address)| *address)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.ended.borrow().is_none()
    }

    pub(super) fn console(&self) -> String {
        self.hardware.console()
    }

    /// Ends when QEMU does.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // Nobody tells any more: it ended, too.
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Why the guest cannot be reached, where QEMU or the guest's kernel is to blame.
    pub(super) fn blame(&self) -> Option<MachineError> {
        let console = self.console();
        if let Some(line) = console::trouble(&console) {
            let line = line.to_owned();
            return Some(MachineError::GuestBroken { line, console });
        }
        let status = *self.ended.borrow();
        status.map(|status| died(&self.hardware, Some(status)))
    }

    /// Takes its power away.
    pub(super) fn kill(&self) {
        let undertaker = self.undertaker.lock().take();
        end(&self.process, undertaker);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

type Undertaker = JoinHandle<()>;

/// A QEMU that has not greeted yet.
struct Unborn {
    process: Option<(OwnedFd, Undertaker)>,
}

impl Drop for Unborn {
    fn drop(&mut self) {
        if let Some((process, undertaker)) = self.process.take() {
            end(&process, Some(undertaker));
        }
    }
}

fn end(process: &OwnedFd, undertaker: Option<Undertaker>) {
    // One that has ended is as good; the descriptor cannot mean another process.
    let _ = pidfd_send_signal(process, Signal::KILL);
    if let Some(undertaker) = undertaker {
        let _ = undertaker.join();
    }
}

fn died(hardware: &Hardware, status: Option<ExitStatus>) -> MachineError {
    MachineError::EmulatorDied {
        how: status.map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
        said: hardware.said(),
    }
}

fn spawn(
    hardware: &Hardware,
    disks: &[(Value, Value)],
) -> Result<(OwnedFd, Undertaker, watch::Receiver<Option<ExitStatus>>), MachineError> {
    let cannot = MachineError::host("cannot start QEMU");
    let complaints = File::create(hardware.dir.join("complaints"));
    let child = complaints.and_then(|complaints| {
        let mut command = hardware.command(disks);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints);
        command.spawn()
    });
    let mut child = child.map_err(cannot)?;
    let process = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(process) => process,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(MachineError::host("cannot hold on to QEMU")(error.into()));
        }
    };
    let (end, ended) = watch::channel(None);
    let undertaker = thread::spawn(move || {
        let status = child.wait().unwrap_or_default();
        end.send_replace(Some(status));
    });
    Ok((process, undertaker, ended))
}

/// The ports of this machine that the kernel chose; only the monitor for people tells them.
async fn forwarded_ports(qmp: &Qmp) -> Result<Vec<(u16, SocketAddr)>, QmpError> {
    let table = qmp
        .execute("human-monitor-command", json!({"command-line": "info usernet"}))
        .await?;
    Ok(parse_ports(table.as_str().unwrap_or_default()))
}

/// `TCP[HOST_FORWARD] fd address port address port queues`
fn parse_ports(table: &str) -> Vec<(u16, SocketAddr)> {
    let forward = |line: &str| {
        let mut words = line
            .trim()
            .strip_prefix("TCP[HOST_FORWARD]")?
            .split_whitespace()
            .skip(2);
        let host: u16 = words.next()?.parse().ok()?;
        let guest = words.nth(1)?.parse().ok()?;
        Some((guest, SocketAddr::from((Ipv4Addr::LOCALHOST, host))))
    };
    table.lines().filter_map(forward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_ports_are_read_from_the_table() {
        let table = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                     TCP[HOST_FORWARD]  12       127.0.0.1 38127       10.0.2.15  7070     0     0\r\n  \
                     UDP[236 sec]       40       10.0.2.15    68        10.0.2.2    67     0     0\r\n";
        assert_eq!(parse_ports(table), [(7070, "127.0.0.1:38127".parse().unwrap())]);
    }
}
