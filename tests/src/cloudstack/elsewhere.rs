//! A hypervisor on some other machine: disks are plugged in where nobody here sees them.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Disk, Hypervisor, HypervisorError};

/// A VM elsewhere. Its guest lets go at once, unless it is told to cling.
#[derive(Debug, Default)]
pub struct ElsewhereHypervisor {
    plugged: Mutex<Vec<Disk>>,
    grip: Mutex<Grip>,
}

/// Whether a guest lets go of its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grip {
    /// When it is asked.
    #[default]
    Loose,
    /// Never: it is booting, or hangs.
    Clinging,
}

impl ElsewhereHypervisor {
    /// Tells the guest whether to let go.
    pub fn set_grip(&self, grip: Grip) {
        *self.grip.lock() = grip;
    }
}

#[async_trait]
impl Hypervisor for ElsewhereHypervisor {
    async fn plug(&self, disk: &Disk) -> Result<(), HypervisorError> {
        let mut plugged = self.plugged.lock();
        if plugged.iter().any(|other| other.image == disk.image) {
            return Err(HypervisorError::Refused(
                "internal error: the image is plugged in already".to_owned(),
            ));
        }
        plugged.push(disk.clone());
        Ok(())
    }

    async fn unplug(&self, disk: &Disk, patience: Duration) -> Result<(), HypervisorError> {
        if !self.plugged.lock().contains(disk) {
            return Err(HypervisorError::NotPlugged);
        }
        if *self.grip.lock() == Grip::Clinging {
            tokio::time::sleep(patience).await;
            return Err(HypervisorError::TimedOut(patience));
        }
        self.plugged.lock().retain(|other| other != disk);
        Ok(())
    }

    async fn grown(&self, disk: &Disk) -> Result<(), HypervisorError> {
        if self.plugged.lock().contains(disk) {
            Ok(())
        } else {
            Err(HypervisorError::NotPlugged)
        }
    }

    async fn plugged(&self) -> Vec<Disk> {
        self.plugged.lock().clone()
    }
}
