//! The conformance suite over the provider `cloudstack` in front of QEMU: what it says is held against the guest's kernel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use volumed::cloud::CloudStack;
use volumed::cloud::conformance::{BLOCK, Guest, Rig, suite};
use volumed::model::{Bytes, Identity};
use whole_system_tests::virtual_machine::{DiskBus, MachineSetup};
use whole_system_tests::{VirtualSite, write_credentials};

/// A guest under emulation is slow, and every look into it is a command.
const WITHIN: Duration = Duration::from_secs(280);

/// The guest's kernel, asked by programs that run in it.
struct Inside(Arc<VirtualSite>);

impl Inside {
    fn run(&self, script: &str, input: Vec<u8>) -> String {
        let command = self.0.machine.command(&["sh", "-c", script]).input(input);
        let here = tokio::runtime::Handle::current();
        // On a thread of its own: a thread that waits within a wait takes the other one's wake-ups.
        let running = || {
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| here.block_on(command.within(Duration::from_secs(60)).run()));
                thread.join().unwrap()
            })
        };
        let outcome = tokio::task::block_in_place(running).unwrap();
        assert_eq!(outcome.code, Some(0), "{script}: {outcome:?}");
        outcome.stdout
    }
}

impl Guest for Inside {
    fn devices(&self, identity: &Identity) -> Vec<PathBuf> {
        let Identity::Serial(wanted) = identity else {
            return Vec::new();
        };
        // What comes or goes meanwhile shows half; it is asked again.
        let script = "for d in /sys/block/vd* /sys/block/sd*; do
            if [ -e $d/device/vpd_pg80 ]; then s=$(tail -c +5 $d/device/vpd_pg80); else s=$(cat $d/serial); fi
            echo \"${d##*/} $s\"
        done 2>/dev/null; true";
        let seen = self.run(script, Vec::new());
        let lines = seen.lines().filter_map(|line| line.split_once(' '));
        let ours = lines.filter(|(_, serial)| serial.trim() == wanted);
        ours.map(|(name, _)| Path::new("/dev").join(name)).collect()
    }

    fn size(&self, device: &Path) -> Bytes {
        let said = self.run(&format!("blockdev --getsize64 {}", device.display()), Vec::new());
        Bytes(said.trim().parse().unwrap())
    }

    fn write(&self, device: &Path, offset: u64, fill: u8) {
        let seek = offset / BLOCK as u64;
        let script = format!(
            "dd of={} bs={BLOCK} seek={seek} conv=fsync,notrunc 2>&1",
            device.display()
        );
        self.run(&script, vec![fill; BLOCK]);
    }

    fn read(&self, device: &Path, offset: u64) -> [u8; BLOCK] {
        let skip = offset / BLOCK as u64;
        let script = format!(
            "dd if={} bs={BLOCK} skip={skip} count=1 iflag=direct 2>/dev/null | od -An -v -tu1",
            device.display()
        );
        let said = self.run(&script, Vec::new());
        let bytes: Vec<u8> = said
            .split_whitespace()
            .map(|byte| byte.parse().unwrap())
            .collect();
        bytes.try_into().expect("a whole block")
    }
}

async fn conforms(bus: DiskBus) {
    let setup = MachineSetup {
        bus,
        ..MachineSetup::default()
    };
    let Some(site) = VirtualSite::boot(setup).await.unwrap() else {
        return;
    };
    let site = Arc::new(site);
    let credentials = site.machine.dir().join("credentials");
    write_credentials(&credentials, &site.cloud.api_key(), &site.cloud.secret_key());
    let (zone, offering) = (site.cloud.zone_id(), site.cloud.offering_id());
    let mut settings =
        volumed::config::CloudStack::new(site.cloud.url(), zone.to_string(), offering.to_string());
    settings.credentials_file = Some(credentials);
    settings.vm_id = Some(site.cloud.vm_id().to_string());
    settings.poll_interval = Duration::from_millis(50);
    let rig = Rig {
        cloud: Arc::new(CloudStack::open(settings).await.unwrap()),
        guest: Arc::new(Inside(Arc::clone(&site))),
        prefix: "conformance".to_owned(),
    };
    let done = tokio::time::timeout(WITHIN, suite(rig)).await;
    if done.is_err() {
        let world = site.cloud.snapshot();
        let pending: Vec<_> = world.jobs.iter().filter(|job| job.is_pending()).collect();
        panic!(
            "the suite does not end within {WITHIN:?}; jobs under way: {pending:#?}; slots: {:#?}",
            site.machine.hypervisor().slots()
        );
    }
    assert_eq!(site.cloud.violations(), []);
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudstack_on_virtio_blk() {
    conforms(DiskBus::VirtioBlk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudstack_on_virtio_scsi() {
    conforms(DiskBus::VirtioScsi).await;
}
