//! What stands behind the CloudStack of the tests: who plugs a volume's file into a VM, and pulls it out again.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

/// A disk as the hypervisor has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    /// What makes it that disk for the guest: the first 20 hexadecimal digits of the volume's UUID.
    pub serial: String,
    /// The raw image behind it.
    pub image: PathBuf,
}

/// Why a disk was not plugged in or pulled out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HypervisorError {
    /// The guest was asked to let go and has not within the time. It may still do so, at any time later.
    #[error("the guest did not let go within {0:?}")]
    TimedOut(Duration),
    /// The disk is not plugged in.
    #[error("the disk is not plugged in")]
    NotPlugged,
    /// The hypervisor said no, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// The hypervisor of one VM: loop devices of this machine, or QEMU with the virtual appliance.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// Plugs a disk in, and returns when the hypervisor has done so; the guest's kernel may take another moment.
    /// A disk with the same image that is plugged in already is refused.
    async fn plug(&self, disk: &Disk) -> Result<(), HypervisorError>;

    /// Asks the guest to let the disk go and waits at most `patience` for it.
    async fn unplug(&self, disk: &Disk, patience: Duration) -> Result<(), HypervisorError>;

    /// Tells the guest that the image has grown, where the disk is plugged in.
    async fn grown(&self, disk: &Disk) -> Result<(), HypervisorError>;

    /// The disks that are plugged in now, in no order.
    async fn plugged(&self) -> Vec<Disk>;
}
