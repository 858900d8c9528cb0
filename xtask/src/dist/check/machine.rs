//! The virtual machine: Debian's own kernel and initramfs, one disk, no network, and two serial lines to listen on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::clean_root::CleanRoot;
use crate::command::{command, find};
use crate::console;
use crate::wait::wait_until;

/// An emulated processor takes its time to boot systemd and to unpack packages.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Boots the disk and waits until the machine powers itself off; returns what the script said.
pub(super) fn run(clean: &CleanRoot, image: &Path, place: &Path) -> Result<String> {
    let (said, log) = (place.join("transcript"), place.join("console"));
    for old in [&said, &log] {
        let _ = fs::remove_file(old);
    }
    console::say(&format!("its console is {}", log.display()));
    find("qemu-system-x86_64").context("no QEMU here: cargo xtask install-deps")?;
    let mut qemu = command("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // The virtual appliance's, and for its reasons (tests/src/virtual_machine/emulator.rs).
    qemu.args([
        "-machine",
        "pc,usb=off,vmport=off",
        "-accel",
        "tcg",
        "-cpu",
        "max",
    ]);
    qemu.args(["-m", "2048", "-smp", "2"]);
    qemu.arg("-kernel").arg(clean.boot_file("vmlinuz-")?);
    qemu.arg("-initrd").arg(clean.boot_file("initrd.img-")?);
    qemu.args([
        "-append",
        "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 no_timer_check nowatchdog",
    ]);
    let drive = format!("file={},if=virtio,format=raw,cache=unsafe", image.display());
    qemu.args(["-drive", &drive, "-device", "virtio-rng-pci"]);
    for line in [&log, &said] {
        qemu.arg("-serial").arg(format!("file:{}", line.display()));
    }
    let mut qemu = qemu.spawn().context("cannot start QEMU")?;
    let ended = wait_until("the machine", PATIENCE, || Ok(qemu.try_wait()?));
    if ended.is_err() {
        qemu.kill().context("cannot end QEMU")?;
        qemu.wait().context("cannot end QEMU")?;
    }
    let transcript = fs::read_to_string(&said).unwrap_or_default().replace('\r', "");
    fs::write(&said, &transcript).context("cannot write the transcript")?;
    ended.map(|_| transcript)
}
