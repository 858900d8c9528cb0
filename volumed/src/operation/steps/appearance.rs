//! Telling a disk that carries no identity: by its appearance after our attach, where the configuration allows that.
//!
//! Some hypervisors give disks no serial. Then nothing on the disk says which volume it is, and the only evidence is that
//! it came when it was called. That is taken only where all of this holds, and refused otherwise: one attach at a time; the
//! newest disk of before was noted before the call was sent, and survives a crash; exactly one disk without identity came
//! after it, in this boot, and stays the only one for a while; its size is exact. Its identity then is that plug-in and
//! ends with it. Content is never looked at, and nothing is ever written to find out.

use std::time::Duration;

use tokio::time::Instant;

use crate::device::{Disk, Inventory};
use crate::model::{AttachmentState, Bytes, ErrorCode, Failure, Identity, Incarnation, VolumeId};
use crate::operation::step::{Context, StepError};
use crate::operation::world::IdentityPolicy;
use crate::store::{self, StoreError, Tx};

/// How long the candidate must stay the only one.
const ALONE_FOR: Duration = Duration::from_secs(2);

/// Whether nothing but its appearance can tell the volume's device.
pub(super) fn is_needed(cx: &Context) -> bool {
    cx.volume.identity.as_ref().is_none_or(Identity::is_passing)
}

/// That the configuration allows it.
pub(super) fn require_allowed(cx: &Context) -> Result<(), Failure> {
    match cx.world.settings.identity {
        IdentityPolicy::Appearance => Ok(()),
        IdentityPolicy::Carried => {
            let text = format!(
                "the cloud gives the disk of volume {} no serial: which device it is could not be proven",
                cx.volume.id
            );
            Err(Failure::new(ErrorCode::DeviceUnverifiable, text).hint(
                "use a hypervisor that gives disks serials (KVM); `cloudstack.identity = \"appearance\"` accepts \
                 weaker evidence, see docs/cloudstack.md",
            ))
        }
    }
}

/// Another volume that is being attached just now: two appearances at once could not be told apart.
pub(super) fn other_attach(tx: &Tx<'_>, volume: VolumeId) -> Result<Option<VolumeId>, StoreError> {
    let live = store::attachments::all_live(tx)?;
    let other = live
        .into_iter()
        .find(|one| one.volume_id != volume && one.state == AttachmentState::Attaching);
    Ok(other.map(|one| one.volume_id))
}

/// Notes the newest disk of this machine, before the attach is sent.
pub(super) async fn note_baseline(cx: &Context) -> Result<(), StepError> {
    let inventory = cx.world.kernel.look().await?;
    if !inventory.unsettled.is_empty() {
        return Err(StepError::wait("the devices of this machine to settle"));
    }
    let newest = Incarnation {
        boot_id: inventory.boot_id.clone(),
        diskseq: newest(&inventory).ok_or_else(no_diskseq)?,
    };
    let id = cx.volume.id;
    cx.world
        .store
        .write(move |tx| match store::attachments::live(tx, id)? {
            Some(attachment) => store::attachments::note_baseline(tx, attachment.id, &newest),
            None => Err(StoreError::Stale(format!("volume {id} has no attachment"))),
        })
        .await?;
    Ok(())
}

fn newest(inventory: &Inventory) -> Option<u64> {
    let numbers: Option<Vec<u64>> = inventory.disks.iter().map(|disk| disk.diskseq).collect();
    Some(numbers?.into_iter().max().unwrap_or(0))
}

fn no_diskseq() -> Failure {
    let text = "this kernel does not number its disks (diskseq, Linux 5.15), so what is new cannot be told";
    Failure::new(ErrorCode::DeviceUnverifiable, text)
}

/// Waits until one disk has appeared that can only be the volume's, and records its plug-in as the volume's identity.
pub(super) async fn await_appearance(cx: &Context) -> Result<Identity, StepError> {
    let id = cx.volume.id;
    let live = cx
        .world
        .store
        .read(move |conn| store::attachments::live(conn, id))
        .await?;
    let baseline = live.and_then(|attachment| attachment.baseline).ok_or_else(|| {
        let text = format!("volume {id} was attached before the daemon could watch its disk appear");
        Failure::new(ErrorCode::DeviceUnverifiable, text).hint("detach it in the cloud, then attach it here")
    })?;
    let plug_in = watch(cx, &baseline).await?;
    let recorded = plug_in.clone();
    cx.world
        .store
        .write(move |tx| store::volumes::set_appearance(tx, id, &recorded))
        .await?;
    Ok(Identity::Appeared(plug_in))
}

async fn watch(cx: &Context, baseline: &Incarnation) -> Result<Incarnation, StepError> {
    let (began, timeout) = (Instant::now(), cx.world.settings.attach_timeout);
    let mut only: Option<(Incarnation, Instant)> = None;
    loop {
        let inventory = cx.world.kernel.look().await?;
        let seen = candidate(&inventory, baseline, cx.volume.size)?;
        only = match (seen, only) {
            (Some(now), Some((before, since))) if now == before => Some((before, since)),
            (now, _) => now.map(|plug_in| (plug_in, Instant::now())),
        };
        let left = match &only {
            Some((plug_in, since)) if since.elapsed() >= ALONE_FOR => return Ok(plug_in.clone()),
            Some((_, since)) => ALONE_FOR.saturating_sub(since.elapsed()),
            None => timeout.saturating_sub(began.elapsed()),
        };
        if left.is_zero() && only.is_none() {
            let text = format!(
                "no disk without identity appeared within {} seconds",
                timeout.as_secs()
            );
            return Err(Failure::new(ErrorCode::DeviceMissing, text)
                .hint("see `volumectl devices`")
                .into());
        }
        tokio::select! {
            () = cx.interrupted.cancelled() => return Err(StepError::Interrupted),
            () = tokio::time::sleep(left) => {}
            _ = cx.world.kernel.changed_since(&inventory) => {}
        }
    }
}

/// The one disk that appeared and can be the volume's; `None` while there is none.
fn candidate(
    inventory: &Inventory,
    baseline: &Incarnation,
    size: Bytes,
) -> Result<Option<Incarnation>, Failure> {
    let refused = |code, text: String| Err(Failure::new(code, text).hint("it is handed to nobody"));
    if inventory.boot_id != baseline.boot_id {
        let text =
            "the machine was rebooted after the attach was sent, and a disk without identity cannot be told";
        return refused(ErrorCode::DeviceUnverifiable, text.into());
    }
    if newest(inventory).is_none() {
        return Err(no_diskseq());
    }
    let came = |disk: &&Disk| disk.identity.is_none() && disk.diskseq > Some(baseline.diskseq);
    let disks: Vec<&Disk> = inventory.disks.iter().filter(came).collect();
    match disks.as_slice() {
        _ if !inventory.unsettled.is_empty() => Ok(None),
        [] => Ok(None),
        [disk] if disk.size == size => Ok(inventory.incarnation(disk)),
        [disk] => {
            let node = disk.node.display();
            refused(
                ErrorCode::SizeMismatch,
                format!("{node} appeared with {}, expected {size}", disk.size),
            )
        }
        several => {
            let nodes: Vec<_> = several.iter().map(|d| d.node.display().to_string()).collect();
            let text = format!(
                "{} disks without identity appeared: {}",
                nodes.len(),
                nodes.join(", ")
            );
            refused(ErrorCode::DeviceAmbiguous, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DevNum;

    fn disk(name: &str, diskseq: Option<u64>, size: Bytes, identity: Option<Identity>) -> Disk {
        Disk {
            name: name.into(),
            node: format!("/dev/{name}").into(),
            devnum: DevNum { major: 202, minor: 1 },
            diskseq,
            size,
            read_only: false,
            identity,
            holders: Vec::new(),
            partitions: Vec::new(),
        }
    }

    fn inventory(disks: Vec<Disk>) -> Inventory {
        Inventory {
            boot_id: "boot".into(),
            generation: 1,
            disks,
            unsettled: Vec::new(),
            disputed: std::collections::BTreeSet::new(),
        }
    }

    fn baseline() -> Incarnation {
        Incarnation {
            boot_id: "boot".into(),
            diskseq: 5,
        }
    }

    fn judged(disks: Vec<Disk>) -> Result<Option<u64>, ErrorCode> {
        candidate(&inventory(disks), &baseline(), Bytes::GIB)
            .map(|found| found.map(|plug_in| plug_in.diskseq))
            .map_err(|failure| failure.code)
    }

    #[test]
    fn only_what_came_after_the_call_and_carries_nothing_is_a_candidate() {
        let old = || disk("xvda", Some(5), Bytes::GIB, None);
        let named = || disk("vdb", Some(9), Bytes::GIB, Some(Identity::Serial("s".into())));
        assert_eq!(judged(vec![old(), named()]), Ok(None));
        let new = disk("xvdb", Some(6), Bytes::GIB, None);
        assert_eq!(judged(vec![old(), named(), new]), Ok(Some(6)));
    }

    #[test]
    fn two_candidates_another_size_and_another_boot_are_refused() {
        let new = |name: &str, diskseq, size| disk(name, Some(diskseq), size, None);
        assert_eq!(
            judged(vec![new("xvdb", 6, Bytes::GIB), new("xvdc", 7, Bytes::MIB)]),
            Err(ErrorCode::DeviceAmbiguous)
        );
        assert_eq!(
            judged(vec![new("xvdb", 6, Bytes::MIB)]),
            Err(ErrorCode::SizeMismatch)
        );
        let other = Incarnation {
            boot_id: "before".into(),
            diskseq: 5,
        };
        let here = inventory(vec![new("xvdb", 6, Bytes::GIB)]);
        let failure = candidate(&here, &other, Bytes::GIB).unwrap_err();
        assert_eq!(failure.code, ErrorCode::DeviceUnverifiable);
    }

    #[test]
    fn a_kernel_that_numbers_no_disks_can_tell_nothing() {
        let unnumbered = disk("xvdb", None, Bytes::GIB, None);
        assert_eq!(judged(vec![unnumbered]), Err(ErrorCode::DeviceUnverifiable));
    }

    #[test]
    fn while_devices_are_changing_nothing_is_taken() {
        let mut changing = inventory(vec![disk("xvdb", Some(6), Bytes::GIB, None)]);
        changing.unsettled.push("xvdc".into());
        assert_eq!(
            candidate(&changing, &baseline(), Bytes::GIB).map_err(|f| f.code),
            Ok(None)
        );
    }
}
