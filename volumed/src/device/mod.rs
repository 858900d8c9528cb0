//! What the kernel has: the inventory of disks, its watcher, the correlator, who uses a disk, and the pin.
//!
//! Nothing here decides by a name, an order or a link: a disk is recognised by its [`Identity`](crate::model::Identity),
//! one plug-in of it by its `diskseq`, and both are asked of the kernel, through an open descriptor where it counts.
//! An event only says "look again"; a scan of sysfs decides.

mod checks;
mod correlator;
mod disk;
#[cfg(test)]
mod fake_tree;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod identity;
mod ioctl;
mod machine;
mod openers;
mod pin;
mod root;
mod scan;
mod scsi;
mod usage;
mod watcher;

pub use checks::{examine_disks, examine_watcher};
pub use correlator::{Correlation, Expectation, ForeignReason, correlate};
pub use disk::{Disk, Inventory, Partition};
pub use identity::{IdentitySource, KernelIdentities, NotReady, loop_identity_of_file};
pub use machine::{HeldDisk, KernelMachine, Machine};
pub use openers::{Exclusivity, Opener, ProbeError, exclusive_probe, openers, openers_of};
pub use pin::{Observed, Pin, PinError, open_verified};
pub use root::{SysRoot, rescan_pci};
pub use scan::{ScanError, boot_id, scan, scan_with};
pub use usage::{Usage, UsageError, Use};
pub use watcher::{
    Alarms, ChangeExpected, Hearing, InventoryFeed, Publisher, RescanError, Scanner, WaitError, Watcher,
    WatcherConfig, WatcherDied, WatcherStartError, WatcherStats,
};
