//! How many data disks a VM can have, and whether it has room for one more.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Inner;
use super::classify;
use super::command::Command;
use super::wire;
use crate::cloud::CloudError;

/// How long a limit that a refusal named is believed: an administrator may have raised it.
const BELIEVED: Duration = Duration::from_secs(600);

/// What is known of the limit.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What the server told when it was asked; `None` inside where our role must not ask.
    told: OnceCell<Option<u64>>,
    /// What a refusal named, and when.
    named: Mutex<Option<(u64, Instant)>>,
}

impl Room {
    /// Learns from a text such as "… already has the maximum number of data disks (6) attached …".
    pub(super) fn learn(&self, text: &str) {
        if let Some(limit) = limit_in(text) {
            *self.named.lock() = Some((limit, Instant::now()));
        }
    }

    fn learned(&self) -> Option<u64> {
        let named = *self.named.lock();
        named
            .filter(|(_, when)| when.elapsed() < BELIEVED)
            .map(|(limit, _)| limit)
    }
}

impl Inner {
    /// Refuses where the VM surely has no room, in words that say what to do. CloudStack has the last word.
    pub(super) async fn need_room_on(&self, vm: &str, doing: &str) -> Result<(), CloudError> {
        let command = Command::read("listVolumes").with("virtualmachineid", vm);
        let disks = match self.listed(command).await {
            Ok(disks) => disks,
            Err(failure) if failure.is_absence_of(vm) => {
                return Err(CloudError::NotFound {
                    what: format!("VM {vm}"),
                });
            }
            Err(failure) => return Err(classify::reading(failure, doing)),
        };
        let disks = disks.iter().filter(|volume| volume.is_data_disk()).count();
        match self.limit().await {
            Some(limit) if u64::try_from(disks).is_ok_and(|disks| disks >= limit) => {
                let reason = format!(
                    "VM {vm} has {disks} of {limit} data disks; detach one, or have the limit raised \
                     (`maxdatavolumeslimit` of the hypervisor's capabilities)"
                );
                Err(CloudError::NoSpace {
                    doing: doing.to_owned(),
                    source: Some(reason.into()),
                })
            }
            _ => Ok(()),
        }
    }

    async fn limit(&self) -> Option<u64> {
        if self.settings.max_data_disks.is_some() {
            return self.settings.max_data_disks;
        }
        let told = self.room.told.get_or_init(|| told_limit(&self.api)).await;
        told.or_else(|| self.room.learned())
    }
}

/// The limit for KVM, where our role may ask for it (it takes an administrator). The capabilities have a row for each
/// version, and which one counts is the host's business: the most that any allows.
pub(super) async fn told_limit(api: &super::api::Api) -> Option<u64> {
    let command = Command::read("listHypervisorCapabilities")
        .with("hypervisor", "KVM")
        .perhaps_denied();
    let rows: Vec<wire::HypervisorCapability> = api.list(&command, "hypervisorCapabilities").await.ok()?;
    let kvm = rows.iter().filter(|row| row.hypervisor.as_deref() == Some("KVM"));
    kvm.filter_map(|row| row.maxdatavolumeslimit).max()
}

fn limit_in(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let (_, after) = text.split_once("maximum number of data disks (")?;
    let (number, _) = after.split_once(')')?;
    number.trim().parse().ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_limit() {
        let refusal = "The specified VM already has the maximum number of data disks (6) attached. Please specify another VM.";
        assert_eq!(limit_in(refusal), Some(6));
        for text in [
            "",
            "maximum number of data disks (many)",
            "maximum number of data disks (0)",
            "(6)",
        ] {
            assert_eq!(limit_in(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_refusal_named_is_not_believed_for_ever() {
        let room = Room::default();
        room.learn("maximum number of data disks (6)");
        room.learn("nothing about disks");
        assert_eq!(room.learned(), Some(6));
        tokio::time::advance(BELIEVED).await;
        assert_eq!(room.learned(), None);
    }
}
