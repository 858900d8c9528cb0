//! Turning change tracking on for a machine.

use tracing::info;

use super::super::inventory::{DiskMode, DiskProblem, Machine};
use super::super::soap::{Call, Xml};
use super::super::{Session, VsphereError};

const WHAT: &str = "the change of the machine's settings";
/// Tracking came with it.
const FIRST_VERSION: u32 = 7;

/// What turning tracking on came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// It was on.
    Already,
    /// It is on.
    Now,
    /// It is on after the next stun: make a snapshot and remove it, then make the one to copy from.
    AfterSnapshot,
}

impl Machine {
    /// Whether tracking can be turned on: by the hardware, the snapshots, and the disks.
    ///
    /// # Errors
    /// [`VsphereError::TrackingUnsupported`], [`VsphereError::SnapshotsInTheWay`], [`VsphereError::Disk`],
    /// [`VsphereError::MachineIncomplete`].
    pub fn can_track(&self) -> Result<(), VsphereError> {
        let unsupported = |why: String| VsphereError::TrackingUnsupported {
            machine: self.path.clone(),
            why,
        };
        if self.change_tracking_supported == Some(false) {
            return Err(unsupported("the vCenter says so".to_owned()));
        }
        match self.hardware_version() {
            Some(version) if version < FIRST_VERSION => {
                return Err(unsupported(format!("its hardware is of version {version}")));
            }
            _ => {}
        }
        let snapshots = self.all_snapshots();
        if !snapshots.is_empty() {
            return Err(VsphereError::SnapshotsInTheWay {
                machine: self.path.clone(),
                names: snapshots.iter().map(|node| node.name.clone()).collect(),
            });
        }
        self.has_trackable_disks()
    }

    fn has_trackable_disks(&self) -> Result<(), VsphereError> {
        let disks = &self.config()?.disks;
        let untrackable = disks.iter().find_map(|disk| match disk.problem() {
            _ if disk.mode != DiskMode::Persistent => Some((disk, DiskProblem::Independent)),
            Some(problem @ (DiskProblem::RdmPhysical | DiskProblem::Shared)) => Some((disk, problem)),
            _ => None,
        });
        match untrackable {
            None => Ok(()),
            Some((disk, problem)) => Err(VsphereError::Disk {
                machine: self.path.clone(),
                disk: disk.label.clone(),
                problem,
            }),
        }
    }
}

impl Session {
    /// Turns change tracking on for a machine that was discovered just now. May be repeated.
    ///
    /// # Errors
    /// As [`Machine::can_track`]; [`VsphereError::TaskFailed`] where the host refuses.
    pub async fn enable_change_tracking(&self, machine: &Machine) -> Result<Enabled, VsphereError> {
        if machine.config()?.change_tracking {
            return Ok(Enabled::Already);
        }
        machine.can_track()?;
        let spec = Xml::new().text("changeTrackingEnabled", "true");
        let arguments = Xml::new().typed("spec", "VirtualMachineConfigSpec", spec);
        let call = Call::changing("ReconfigVM_Task", &machine.reference(), arguments);
        self.run(&call, WHAT).await?;
        info!(endpoint = %self.endpoint(), machine = %machine.path, "change tracking is on");
        Ok(match machine.power_state.as_deref() {
            Some("poweredOff") => Enabled::Now,
            _ => Enabled::AfterSnapshot,
        })
    }
}
