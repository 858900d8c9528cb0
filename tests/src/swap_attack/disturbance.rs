//! What is done to udev, or to the serials, while the disks are swapped.

use std::fs::File;
use std::time::Duration;

use super::{GIB, Target};
use crate::virtual_machine::{MachineError, PluggableDisk};
use crate::{VirtualSite, write_marker};

/// A kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// None: udevd does what it can.
    Healthy,
    /// udevd and its workers are stopped (SIGSTOP): links and database stay as they were.
    Frozen,
    /// A rule makes udevd take a second for every disk.
    Slow,
    /// udevd is killed; what it made stays.
    Dead,
    /// Links are made by hand that lead to the other disk.
    Forged,
    /// Strangers' disks carry the serials of every pair's first volume.
    Twin,
}

/// A disturbance that goes on.
#[must_use = "it has to be ended"]
pub(super) struct Disturbed {
    kind: Disturbance,
    /// The slots of the twins.
    twins: Vec<u8>,
}

/// All processes of udevd: the daemon and its workers.
const UDEVD: &str = "for p in /proc/[0-9]*; do
    if [ \"$(readlink $p/exe)\" = /usr/bin/udevadm ] || [ \"$(cat $p/comm 2>/dev/null)\" = systemd-udevd ] || [ \"$(cat $p/comm 2>/dev/null)\" = '(udev-worker)' ]; then
        kill -SIGNAL ${p#/proc/}
    fi
done 2>/dev/null; true";

const SLOW_RULE: &str = "SUBSYSTEM==\"block\", PROGRAM=\"/bin/sleep 1\"\n";
const SLOW_RULES: &str = "/run/udev/rules.d/10-slow.rules";

impl Disturbance {
    pub(super) const ALL: [Disturbance; 6] = [
        Disturbance::Healthy,
        Disturbance::Frozen,
        Disturbance::Slow,
        Disturbance::Dead,
        Disturbance::Forged,
        Disturbance::Twin,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Disturbance::Healthy => "udevd healthy",
            Disturbance::Frozen => "udevd frozen",
            Disturbance::Slow => "udevd slow",
            Disturbance::Dead => "udevd dead",
            Disturbance::Forged => "links forged",
            Disturbance::Twin => "serial twin",
        }
    }

    /// Begins it.
    pub(super) async fn begin(
        self,
        site: &VirtualSite,
        pairs: &[[Target; 2]],
    ) -> Result<Disturbed, MachineError> {
        let mut twins = Vec::new();
        match self {
            Disturbance::Healthy | Disturbance::Forged => {}
            Disturbance::Frozen => signal(site, "STOP").await?,
            Disturbance::Dead => signal(site, "KILL").await?,
            Disturbance::Slow => {
                shell(site, "mkdir -p /run/udev/rules.d").await?;
                site.machine.write_file(SLOW_RULES, SLOW_RULE).await?;
                shell(site, "udevadm control --reload").await?;
            }
            Disturbance::Twin => {
                for [first, _] in pairs {
                    twins.extend(twin_beside(site, first).await?);
                }
            }
        }
        Ok(Disturbed { kind: self, twins })
    }

    /// What is done again after each swap.
    pub(super) async fn again(self, site: &VirtualSite, pairs: &[[Target; 2]]) -> Result<(), MachineError> {
        if self == Disturbance::Forged {
            for pair in pairs {
                forge(site, pair).await?;
            }
        }
        Ok(())
    }
}

/// Has udev's links to a pair's disks lead to each other's.
async fn forge(site: &VirtualSite, pair: &[Target; 2]) -> Result<(), MachineError> {
    let [a, b] = pair.each_ref().map(|target| &target.disk.serial);
    let script = format!(
            "for d in /sys/block/vd* /sys/block/sd*; do
                if [ -e $d/device/vpd_pg80 ]; then s=$(tail -c +5 $d/device/vpd_pg80); else s=$(cat $d/serial); fi
                case \"$s\" in
                    {a}*) other={b} ;;
                    {b}*) other={a} ;;
                    *) continue ;;
                esac
                for l in virtio- scsi-0QEMU_QEMU_HARDDISK_; do
                    [ -L /dev/disk/by-id/$l$other ] && ln -sfn ../../${{d##*/}} /dev/disk/by-id/$l$other
                done
            done 2>/dev/null; true"
        );
    shell(site, &script).await
}

impl Disturbed {
    /// Ends it, and has udevd look at what it missed.
    pub(super) async fn end(self, site: &VirtualSite) -> Result<(), MachineError> {
        match self.kind {
            Disturbance::Healthy => return Ok(()),
            Disturbance::Frozen => signal(site, "CONT").await?,
            Disturbance::Dead => shell(site, "/lib/systemd/systemd-udevd --daemon").await?,
            Disturbance::Slow => {
                shell(site, &format!("rm -f {SLOW_RULES}; udevadm control --reload")).await?
            }
            Disturbance::Forged => {}
            Disturbance::Twin => {
                for slot in self.twins {
                    // It may be that the guest is slow; the next round's machine has no twin.
                    let hypervisor = site.machine.hypervisor();
                    let _ = hypervisor.unplug_slot(slot, Duration::from_secs(60)).await;
                }
            }
        }
        shell(site, "udevadm trigger --subsystem-match=block; true").await
    }
}

/// Plugs a twin in beside the volume's own disk, and waits until the guest shows both. Where the volume's own is not there
/// now, none is plugged in: a disk that is alone with its serial cannot be told from the volume's by anybody in the guest,
/// and whoever controls the hypervisor can always make one.
async fn twin_beside(site: &VirtualSite, of: &Target) -> Result<Option<u8>, MachineError> {
    if !shown(site, of, 1).await? {
        return Ok(None);
    }
    let twin = plug_twin(site, of).await;
    if twin.is_some() && !shown(site, of, 2).await? {
        eprintln!("the guest never showed a volume and its twin side by side");
    }
    Ok(twin)
}

/// Whether the guest comes to show so many disks of the volume's serial within a while.
async fn shown(site: &VirtualSite, of: &Target, disks: u32) -> Result<bool, MachineError> {
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
            n=0
            for d in /sys/block/vd* /sys/block/sd*; do
                if [ -e $d/device/vpd_pg80 ]; then s=$(tail -c +5 $d/device/vpd_pg80); else s=$(cat $d/serial); fi
                case \"$s\" in {serial}*) n=$((n+1)) ;; esac
            done 2>/dev/null
            [ $n = {disks} ] && echo shown && exit 0
            sleep 0.2
        done; true",
        serial = of.disk.serial
    );
    let said = site.machine.run(&["sh", "-c", &script]).await?;
    Ok(said.contains("shown"))
}

/// A disk of nobody, marked as a stranger's, with the serial and the size of a volume's.
async fn plug_twin(site: &VirtualSite, of: &Target) -> Option<u8> {
    let image = site.machine.dir().join(format!("twin-of-{}", of.disk.serial));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&image)
        .ok()?;
    file.set_len(GIB).ok()?;
    write_marker(&file, "a stranger").ok()?;
    let disk = PluggableDisk {
        serial: Some(of.disk.serial.clone()),
        image,
    };
    site.machine.hypervisor().plug_any(disk, None).await.ok()
}

async fn signal(site: &VirtualSite, name: &str) -> Result<(), MachineError> {
    shell(site, &UDEVD.replace("SIGNAL", name)).await
}

async fn shell(site: &VirtualSite, script: &str) -> Result<(), MachineError> {
    site.machine.run(&["sh", "-c", script]).await.map(drop)
}
