//! The virtual appliance itself: that it boots, that its disks come and go as on a real cloud, and that our daemon lives in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use whole_system_tests::virtual_machine::{
    DiskBus, MachineSetup, PluggableDisk, VirtualMachine, is_bootable,
};
use whole_system_tests::{Chance, Disk, Hypervisor, HypervisorError, read_marker, wait_until, write_marker};

/// How long a guest under emulation may take to see a disk come or go.
const PATIENCE: Duration = Duration::from_secs(30);

const MIB: u64 = 1 << 20;

async fn booted(setup: MachineSetup) -> Option<VirtualMachine> {
    if !is_bootable() {
        return None;
    }
    Some(VirtualMachine::boot(setup).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_and_runs_what_it_is_told() {
    let began = Instant::now();
    let setup = MachineSetup::default();
    let Some(machine) = booted(setup.clone()).await else {
        return;
    };
    eprintln!("boot: {:?}", began.elapsed());
    let uuid = machine
        .run(&["cat", "/sys/class/dmi/id/product_uuid"])
        .await
        .unwrap();
    assert_eq!(uuid.to_lowercase(), setup.uuid.to_string());
    eprintln!("{}", machine.run(&["cat", "/proc/uptime"]).await.unwrap());
    eprintln!("{}", machine.run(&["ps"]).await.unwrap());
    eprintln!("{}", machine.run(&["df"]).await.unwrap());
    eprintln!("{}", machine.console_log());
}
