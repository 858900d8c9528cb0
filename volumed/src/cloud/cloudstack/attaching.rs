//! Attach and detach: decided by what the volume shows before and after, and never by what a text says.

use super::Inner;
use super::command::Command;
use super::volume::is_id;
use super::wire;
use crate::cloud::{Call, CloudError};

impl Inner {
    /// Plugs the volume into `vm`. No device number is asked for: the next free one is CloudStack's business.
    pub(super) async fn plug(&self, call: &Call, id: &str, vm: &str) -> Result<(), CloudError> {
        let doing = format!("attaching volume {id} to VM {vm}");
        let _one = self.locks.hold(id).await;
        let volume = self.at_rest(call, id, &doing).await?;
        if is_plugged_into(&volume, vm)? {
            return Ok(());
        }
        if !is_id(vm) {
            return Err(CloudError::NotFound {
                what: format!("VM {vm}"),
            });
        }
        self.need_room_on(vm, &doing).await?;
        let command = Command::change("attachVolume")
            .with("id", id)
            .with("virtualmachineid", vm);
        let ended = self
            .run(call, command)
            .await
            .inspect_err(|setback| self.room.learn(&setback.text()));
        self.decided(ended, id, &doing, |volume| is_plugged_into(volume, vm))
            .await
    }

    /// Unplugs the volume from `vm`. A detach that is under way shows only as a job of the volume.
    pub(super) async fn unplug(&self, call: &Call, id: &str, vm: &str) -> Result<(), CloudError> {
        let doing = format!("detaching volume {id} from VM {vm}");
        let _one = self.locks.hold(id).await;
        let mut volume = self.at_rest(call, id, &doing).await?;
        if !is_plugged_into(&volume, vm)? {
            // A list may be a moment old: that there is nothing to do is believed when it is seen twice.
            self.pause_before(0).await;
            volume = self.at_rest(call, id, &doing).await?;
        }
        if !is_plugged_into(&volume, vm)? {
            return Ok(());
        }
        // By the volume's id: the form with a device number goes wrong in the server.
        let command = Command::change("detachVolume").with("id", id);
        let ended = self.run(call, command).await;
        self.decided(ended, id, &doing, |volume| Ok(volume.virtualmachineid.is_none()))
            .await
    }
}

/// Whether `vm` has it; an error where another one has.
fn is_plugged_into(volume: &wire::Volume, vm: &str) -> Result<bool, CloudError> {
    match &volume.virtualmachineid {
        None => Ok(false),
        Some(holder) if holder == vm => Ok(true),
        Some(holder) => Err(CloudError::AttachedElsewhere {
            volume: volume.id.clone(),
            vm: holder.clone(),
        }),
    }
}
