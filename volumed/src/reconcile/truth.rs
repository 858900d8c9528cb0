//! What cloud and kernel say together of one volume, whatever is recorded: one row per pair of views.
//!
//! | the cloud says | the kernel shows | together |
//! |---|---|---|
//! | anything | several devices of the identity | `Twins` |
//! | at work on it, or being attached | anything | `Undecided`: hands off, wait for the job |
//! | nothing (no answer) | anything | `Undecided` |
//! | attached here | one device, right size | `Attached` |
//! | attached here | one device, another size | `WrongSize` |
//! | attached here | no device | `AttachedWithoutDevice`: hot-plug not finished, or a late unplug |
//! | detached | a device | `Phantom`: quarantined, neither handed out nor attached over |
//! | detached | no device | `Detached` |
//! | attached to another VM | a device | `DoubleAttached`: two machines may write |
//! | attached to another VM | no device | `Elsewhere` |
//! | no such volume, or deleted | a device | `Leaked`: foreign or left behind, never touched |
//! | no such volume, or deleted | no device | `Gone` |
//!
//! While devices are appearing or going, nothing is decided. The rows are those of Apache CloudStack on KVM, where a
//! detach under way looks like an attached volume and a restarted management server forgets a disk that is plugged in.

use super::plan::{CloudView, KernelView};

/// What the two say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// Nothing can be concluded now.
    Undecided,
    /// Attached here, and its device is here.
    Attached,
    /// Attached here, and its device has another size than is recorded.
    WrongSize,
    /// Attached here in the cloud, but no device.
    AttachedWithoutDevice,
    /// Attached to nothing, no device.
    Detached,
    /// Attached to nothing in the cloud, but a device.
    Phantom,
    /// Attached to another VM, no device here.
    Elsewhere,
    /// Attached to another VM in the cloud, and a device here.
    DoubleAttached,
    /// The cloud does not have it, and there is no device.
    Gone,
    /// The cloud does not have it, but a device is here.
    Leaked,
    /// Several devices carry its identity.
    Twins,
}

/// Judges the two views of one volume.
pub(super) fn truth(cloud: &CloudView, kernel: &KernelView) -> Truth {
    let is_here = match kernel {
        KernelView::Unsettled => return Truth::Undecided,
        KernelView::Several { .. } => return Truth::Twins,
        KernelView::Absent => false,
        KernelView::AsBound { .. } | KernelView::Present { .. } | KernelView::WrongSize { .. } => true,
    };
    match (cloud, is_here) {
        (CloudView::Unknown | CloudView::Busy(_), _) => Truth::Undecided,
        (CloudView::AttachedHere, true) if matches!(kernel, KernelView::WrongSize { .. }) => Truth::WrongSize,
        (CloudView::AttachedHere, true) => Truth::Attached,
        (CloudView::AttachedHere, false) => Truth::AttachedWithoutDevice,
        (CloudView::Detached, true) => Truth::Phantom,
        (CloudView::Detached, false) => Truth::Detached,
        (CloudView::AttachedElsewhere(_), true) => Truth::DoubleAttached,
        (CloudView::AttachedElsewhere(_), false) => Truth::Elsewhere,
        (CloudView::Gone | CloudView::Deleted, true) => Truth::Leaked,
        (CloudView::Gone | CloudView::Deleted, false) => Truth::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bytes;

    fn absent() -> KernelView {
        KernelView::Absent
    }

    /// Every way in which one device of the volume can be here, with the right size.
    fn here() -> [KernelView; 2] {
        let node = || "/dev/vdb".to_owned();
        [
            KernelView::AsBound { node: node() },
            KernelView::Present {
                node: node(),
                diskseq: Some(7),
            },
        ]
    }

    fn other_size() -> KernelView {
        KernelView::WrongSize {
            node: "/dev/vdb".into(),
            size: Bytes::MIB,
        }
    }

    fn twins() -> KernelView {
        KernelView::Several {
            nodes: "/dev/vdb, /dev/vdc".into(),
        }
    }

    fn every_cloud_view() -> [CloudView; 7] {
        [
            CloudView::Unknown,
            CloudView::Gone,
            CloudView::Deleted,
            CloudView::Busy("job b0c1".into()),
            CloudView::Detached,
            CloudView::AttachedHere,
            elsewhere(),
        ]
    }

    fn elsewhere() -> CloudView {
        CloudView::AttachedElsewhere("vm-b".into())
    }

    #[test]
    fn attached_and_present_is_attached() {
        for kernel in here() {
            assert_eq!(truth(&CloudView::AttachedHere, &kernel), Truth::Attached);
        }
    }

    #[test]
    fn attached_with_another_size_is_said() {
        assert_eq!(truth(&CloudView::AttachedHere, &other_size()), Truth::WrongSize);
    }

    #[test]
    fn attached_and_absent_is_waited_for_and_not_detached() {
        assert_eq!(
            truth(&CloudView::AttachedHere, &absent()),
            Truth::AttachedWithoutDevice
        );
    }

    #[test]
    fn a_job_under_way_means_hands_off_whatever_the_kernel_shows() {
        let busy = CloudView::Busy("job b0c1".into());
        for kernel in here().into_iter().chain([absent(), other_size()]) {
            assert_eq!(truth(&busy, &kernel), Truth::Undecided, "{kernel:?}");
        }
    }

    #[test]
    fn a_cloud_that_does_not_answer_decides_nothing() {
        for kernel in here().into_iter().chain([absent(), other_size()]) {
            assert_eq!(
                truth(&CloudView::Unknown, &kernel),
                Truth::Undecided,
                "{kernel:?}"
            );
        }
    }

    #[test]
    fn detached_and_present_is_a_phantom() {
        for kernel in here().into_iter().chain([other_size()]) {
            assert_eq!(truth(&CloudView::Detached, &kernel), Truth::Phantom, "{kernel:?}");
        }
    }

    #[test]
    fn detached_and_absent_is_detached() {
        assert_eq!(truth(&CloudView::Detached, &absent()), Truth::Detached);
    }

    #[test]
    fn another_vms_volume_with_a_device_here_is_a_double_attach() {
        for kernel in here().into_iter().chain([other_size()]) {
            assert_eq!(truth(&elsewhere(), &kernel), Truth::DoubleAttached, "{kernel:?}");
        }
    }

    #[test]
    fn another_vms_volume_without_a_device_here_is_elsewhere() {
        assert_eq!(truth(&elsewhere(), &absent()), Truth::Elsewhere);
    }

    #[test]
    fn a_device_of_a_volume_that_is_gone_is_leaked() {
        for kernel in here().into_iter().chain([other_size()]) {
            for cloud in [CloudView::Gone, CloudView::Deleted] {
                assert_eq!(truth(&cloud, &kernel), Truth::Leaked, "{cloud:?} {kernel:?}");
            }
        }
    }

    #[test]
    fn a_volume_that_is_gone_without_a_device_is_gone() {
        for cloud in [CloudView::Gone, CloudView::Deleted] {
            assert_eq!(truth(&cloud, &absent()), Truth::Gone);
        }
    }

    #[test]
    fn two_devices_of_one_identity_are_an_alarm_whatever_the_cloud_says() {
        for cloud in every_cloud_view() {
            assert_eq!(truth(&cloud, &twins()), Truth::Twins, "{cloud:?}");
        }
    }

    #[test]
    fn devices_in_transition_decide_nothing() {
        for cloud in every_cloud_view() {
            assert_eq!(
                truth(&cloud, &KernelView::Unsettled),
                Truth::Undecided,
                "{cloud:?}"
            );
        }
    }
}
