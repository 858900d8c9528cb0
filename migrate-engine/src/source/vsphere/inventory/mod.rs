//! What machines a vCenter or a host has: asked for all at once, put together without further questions.

mod assembly;
mod device;
mod disk;
mod machine;
mod network;
mod places;
mod query;
#[cfg(test)]
mod tests;
mod tracking;

pub use disk::{Disk, DiskKind, DiskMode, DiskProblem, Provisioning};
pub use machine::{Firmware, Machine, MachineConfig};
pub use network::NetworkCard;
pub use query::Query;

pub(super) use device::disks;
pub(super) use places::Places;

use super::reference::Reference;
use super::{Endpoint, VsphereError};

/// The machines that were found.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// In the order of their paths. Those whose configuration cannot be read are there, too.
    pub machines: Vec<Machine>,
    endpoint: Endpoint,
}

impl Inventory {
    /// The one machine of this path (`/DC/vm/web`), id (`vm-57`) or name.
    ///
    /// # Errors
    /// [`VsphereError::MachineNotFound`], or [`VsphereError::MachineAmbiguous`] with the paths to choose from.
    pub fn machine(&self, wanted: &str) -> Result<&Machine, VsphereError> {
        let by_key = self
            .machines
            .iter()
            .find(|machine| machine.path == wanted || machine.id == wanted);
        if let Some(machine) = by_key {
            return Ok(machine);
        }
        let named: Vec<&Machine> = self
            .machines
            .iter()
            .filter(|machine| machine.name == wanted)
            .collect();
        match named.as_slice() {
            [machine] => Ok(machine),
            [] => Err(VsphereError::MachineNotFound {
                endpoint: self.endpoint.to_string(),
                wanted: wanted.to_owned(),
            }),
            several => Err(VsphereError::MachineAmbiguous {
                wanted: wanted.to_owned(),
                paths: several
                    .iter()
                    .map(|machine| format!("{} ({})", machine.path, machine.id))
                    .collect(),
            }),
        }
    }
}

/// What discovery makes of these objects.
#[cfg(feature = "fuzzing")]
pub(super) fn put_together(objects: Vec<super::properties::Object>) -> Vec<Machine> {
    let mut places = Places::default();
    let mut machines = Vec::new();
    for object in objects {
        machines.extend(places.take(object));
    }
    machines
        .iter()
        .map(|object| assembly::machine(object, &places))
        .collect()
}

impl Machine {
    /// The object of this machine.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference::machine(&self.id)
    }
}
