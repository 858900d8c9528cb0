//! From the kernel's hands to a guest in which programs can run: file systems, modules, network, state, udev.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;
use whole_system_tests::virtual_machine::{MODULE_ORDER, STATE_SERIAL};

/// Where the disk is mounted that survives a reboot.
pub(crate) const STATE: &str = "/var/lib/volumed";

const FILE_SYSTEMS: [(&str, &str); 4] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
];

/// The address that QEMU's user network gives the first guest, and the host's in it.
const NETWORK: [&[&str]; 4] = [
    &["ip", "link", "set", "lo", "up"],
    &["ip", "addr", "add", "10.0.2.15/24", "dev", "eth0"],
    &["ip", "link", "set", "eth0", "up"],
    &["ip", "route", "add", "default", "via", "10.0.2.2"],
];

/// Only disks: a cold-plug of everything takes seconds under emulation.
const UDEV: [&[&str]; 3] = [
    &["/lib/systemd/systemd-udevd", "--daemon"],
    &["udevadm", "trigger", "--action=add", "--subsystem-match=block"],
    &["udevadm", "settle", "--timeout=30"],
];

/// Brings the guest up.
pub(crate) fn prepare() -> Result<()> {
    for (kind, target) in FILE_SYSTEMS {
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {target}"))?;
    }
    for module in fs::read_to_string(MODULE_ORDER)
        .context("cannot read which modules to load")?
        .lines()
    {
        load(module)?;
    }
    mount_state()?;
    for command in NETWORK.into_iter().chain(UDEV) {
        run(command)?;
    }
    Ok(())
}

fn load(module: &str) -> Result<()> {
    let file = File::open(module).with_context(|| format!("cannot open {module}"))?;
    match finit_module(&file, &CString::default(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot load {module}")),
    }
}

fn mount_state() -> Result<()> {
    let node = state_disk().context("there is no disk for the state")?;
    mount(&node, STATE, "ext4", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {} on {STATE}", node.display()))
}

fn state_disk() -> Option<PathBuf> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let named = |serial: &str| serial.trim_end() == STATE_SERIAL;
    let disk = disks
        .map(|entry| entry.path())
        .find(|disk| fs::read_to_string(disk.join("serial")).is_ok_and(|serial| named(&serial)))?;
    let uevent = fs::read_to_string(disk.join("uevent")).ok()?;
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(PathBuf::from("/dev").join(name))
}

fn run(command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else {
        bail!("an empty command");
    };
    let status = Command::new(program)
        .args(arguments)
        .env("PATH", super::agent::PATH)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{}: {status}", command.join(" "));
    }
    Ok(())
}
