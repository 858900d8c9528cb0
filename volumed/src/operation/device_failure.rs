//! Why a device is not handed out: in a code, a sentence, and what to do.

use std::time::Duration;

use super::step::with_causes;
use crate::device::{Correlation, Disk, ForeignReason, Inventory, PinError};
use crate::model::{DeviceExpectation, ErrorCode, Failure};

/// The kernel did not answer.
pub(super) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(ErrorCode::DeviceUnverifiable, with_causes(error))
}

/// No device came in time.
pub(super) fn missing(inventory: &Inventory, expected: &DeviceExpectation, waited: Duration) -> Failure {
    let text = format!(
        "no device with identity {} appeared within {} seconds",
        expected.identity,
        waited.as_secs()
    );
    let carries_nothing = |disk: &&Disk| disk.identity.is_none() && disk.size == expected.size;
    let mute: Vec<_> = inventory
        .disks
        .iter()
        .filter(carries_nothing)
        .map(|disk| disk.node.display().to_string())
        .collect();
    let hint = match mute.as_slice() {
        [] => "see `volumectl devices`; the hypervisor may not have plugged the disk in".to_owned(),
        _ => format!(
            "{} has that size but no serial, which proves nothing: does this hypervisor give disks serials? see \
             docs/cloudstack.md",
            mute.join(", ")
        ),
    };
    Failure::new(ErrorCode::DeviceMissing, text).hint(hint)
}

/// Why a descriptor was not taken for the expected device.
pub(super) fn refusal(error: &PinError) -> Failure {
    let code = match error {
        PinError::Gone { .. } => ErrorCode::DeviceMissing,
        PinError::WrongSize { .. } => ErrorCode::SizeMismatch,
        PinError::Io { .. } => ErrorCode::DeviceUnverifiable,
        PinError::NotBlock { .. }
        | PinError::WrongDevice { .. }
        | PinError::WrongIncarnation { .. }
        | PinError::WrongIdentity { .. }
        | PinError::ReadOnly { .. } => ErrorCode::DeviceChanged,
    };
    Failure::new(code, with_causes(error)).hint("see `volumectl devices`, then `volumectl correlate`")
}

/// Why no device of the inventory was taken for the expected one.
pub(super) fn mismatch(found: &Correlation, expected: &DeviceExpectation) -> Failure {
    let identity = &expected.identity;
    match found {
        Correlation::Matched(_) | Correlation::Missing => Failure::new(
            ErrorCode::DeviceMissing,
            format!("no device with identity {identity} is here"),
        ),
        Correlation::Ambiguous(disks) => {
            let nodes: Vec<_> = disks.iter().map(|disk| disk.node.display().to_string()).collect();
            let text = format!(
                "{} devices carry identity {identity}: {}",
                disks.len(),
                nodes.join(", ")
            );
            Failure::new(ErrorCode::DeviceAmbiguous, text)
                .hint("one of them does not belong here; none is handed out")
        }
        Correlation::Disputed(disk) => {
            let text = format!(
                "{} carries identity {identity}, but was seen beside another disk that did too",
                disk.node.display()
            );
            Failure::new(ErrorCode::DeviceAmbiguous, text).hint(
                "it may be the one that does not belong here: detach the volume and attach it again, so that its disk is \
                 plugged in anew and alone",
            )
        }
        Correlation::WrongSize(disk) => {
            let text = format!(
                "{} has {}, expected {}",
                disk.node.display(),
                disk.size,
                expected.size
            );
            Failure::new(ErrorCode::SizeMismatch, text)
                .hint("somebody resized the volume behind the daemon's back")
        }
        Correlation::Busy(disk, uses) => {
            let uses: Vec<_> = uses.iter().map(ToString::to_string).collect();
            let text = format!("{} is in use: {}", disk.node.display(), uses.join(", "));
            Failure::new(ErrorCode::DeviceBusy, text).hint("end these uses, then try again")
        }
        Correlation::Foreign(ForeignReason::NoIdentity) => Failure::new(
            ErrorCode::DeviceUnverifiable,
            format!("identity {identity} proves nothing"),
        ),
        Correlation::Foreign(ForeignReason::Claimed { disk, by }) => {
            let text = format!("{} is recorded for {by}", disk.node.display());
            Failure::new(ErrorCode::DeviceChanged, text)
        }
    }
}
