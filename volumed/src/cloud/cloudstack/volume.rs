//! What a volume of CloudStack is to the daemon: its state, its name, and the serial that its disk will have.

use super::wire;
use crate::cloud::{ProviderState, ProviderVolume};
use crate::config::VolumeIdentity;
use crate::model::{Bytes, Identity};

/// The tag that keeps the name that we gave, should somebody rename the volume.
pub(super) const NAME_TAG: &str = "volumed.name";

/// How much of a UUID becomes the serial: CloudStack cuts at 20 characters, which is what virtio-blk holds.
const SERIAL_DIGITS: usize = 20;

/// Whether `text` is an id as CloudStack spells them. It takes lower case only, so nothing else can be an id of its.
pub(super) fn is_id(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// The serial that the volume's disk has on KVM (`diskUuidToSerial`, since 4.6): the first 20 hexadecimal digits of the id.
pub(super) fn serial_of(id: &str) -> String {
    id.chars().filter(|c| *c != '-').take(SERIAL_DIGITS).collect()
}

/// The volume as the daemon sees it.
/// When the volume was attached: CloudStack sets it with each attach, and clears it with each detach.
fn attachment_mark(volume: &wire::Volume) -> Option<String> {
    volume.virtualmachineid.as_ref().and(volume.attached.clone())
}

pub(super) fn provider_volume(volume: &wire::Volume, identity: VolumeIdentity) -> ProviderVolume {
    ProviderVolume {
        provider_ref: volume.id.clone(),
        name: given_name(volume).to_owned(),
        is_root: !volume.is_data_disk(),
        size: Bytes(volume.size),
        state: state_of(volume),
        attached_to: volume.virtualmachineid.clone(),
        attachment_mark: attachment_mark(volume),
        identity: match identity {
            VolumeIdentity::Serial => Some(Identity::Serial(serial_of(&volume.id))),
            VolumeIdentity::Appearance => None,
        },
    }
}

/// Whether the volume is gone for good: it may be listed for a day yet, but it is nothing any more.
pub(super) fn is_gone(volume: &wire::Volume) -> bool {
    volume.state == "Expunged"
}

/// The name that we gave it.
pub(super) fn given_name(volume: &wire::Volume) -> &str {
    let tag = volume.tags.iter().find(|tag| tag.key == NAME_TAG);
    tag.map_or(&volume.name, |tag| &tag.value)
}

/// The state. A job that is at work comes before what the state says: a volume that is being detached is `Ready`.
pub(super) fn state_of(volume: &wire::Volume) -> ProviderState {
    match (volume.state.as_str(), volume.pending_job()) {
        ("Destroy" | "Destroying" | "Expunging" | "Expunged", _) => ProviderState::Destroyed,
        ("Creating", _) => ProviderState::Creating,
        (state, Some(job)) => ProviderState::Busy(format!("{state}, job {job}")),
        ("Allocated", None) => ProviderState::Allocated,
        ("Ready", None) => ProviderState::Ready,
        ("UploadError" | "UploadAbandoned" | "NotUploaded" | "UploadNotStarted", None) => {
            ProviderState::Unusable(format!(
                "its upload did not come to an end (state {})",
                volume.state
            ))
        }
        ("Uploaded", None) => {
            ProviderState::Unusable("it was uploaded and is on no primary storage yet".to_owned())
        }
        // Attaching, Migrating, Resizing, Snapshotting, RevertSnapshotting, Copying, …, and what later releases add.
        (state, None) => ProviderState::Busy(state.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "c6ef61d1-300f-442a-86e5-e31f482b64ab";

    fn volume(fields: serde_json::Value) -> wire::Volume {
        let mut whole = json!({"id": ID, "name": "n", "type": "DATADISK", "state": "Ready", "size": 1 << 30});
        for (key, value) in fields.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    /// The log of a KVM host: apache/cloudstack#11212.
    #[test]
    fn the_serial_is_the_one_in_the_log_of_a_host() {
        assert_eq!(serial_of(ID), "c6ef61d1300f442a86e5");
    }

    #[test]
    fn only_ids_in_their_one_spelling_are_ids() {
        assert!(is_id(ID));
        for text in [
            "",
            "..",
            "no such volume",
            "C6EF61D1-300F-442A-86E5-E31F482B64AB",
            "c6ef61d1300f442a86e5e31f482b64ab",
            "{c6ef61d1-300f-442a-86e5-e31f482b64ab}",
            "urn:uuid:c6ef61d1-300f-442a-86e5-e31f482b64ab",
        ] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn every_state_has_its_meaning() {
        let busy = |text: &str| ProviderState::Busy(text.to_owned());
        for (fields, expected) in [
            (json!({"state": "Allocated"}), ProviderState::Allocated),
            (json!({"state": "Ready"}), ProviderState::Ready),
            (
                json!({"state": "Ready", "jobid": "j", "jobstatus": 1}),
                ProviderState::Ready,
            ),
            (
                json!({"state": "Ready", "jobid": "j", "jobstatus": 0}),
                busy("Ready, job j"),
            ),
            (
                json!({"state": "Allocated", "jobid": "j", "jobstatus": 0}),
                busy("Allocated, job j"),
            ),
            (
                json!({"state": "Attaching", "jobid": "j", "jobstatus": 0}),
                busy("Attaching, job j"),
            ),
            (json!({"state": "Attaching"}), busy("Attaching")),
            (json!({"state": "SomethingNew"}), busy("SomethingNew")),
            (json!({"state": "Creating"}), ProviderState::Creating),
            (json!({"state": "Destroy"}), ProviderState::Destroyed),
            (
                json!({"state": "Expunging", "jobid": "j", "jobstatus": 0}),
                ProviderState::Destroyed,
            ),
        ] {
            assert_eq!(state_of(&volume(fields.clone())), expected, "{fields}");
        }
        for state in ["Uploaded", "UploadError", "NotUploaded"] {
            let seen = state_of(&volume(json!({"state": state})));
            assert!(matches!(seen, ProviderState::Unusable(_)), "{seen:?}");
        }
    }

    #[test]
    fn the_name_that_we_gave_outlives_a_renaming() {
        let renamed = volume(
            json!({"name": "x", "tags": [{"key": "a", "value": "b"}, {"key": NAME_TAG, "value": "ours"}]}),
        );
        assert_eq!(provider_volume(&renamed, VolumeIdentity::Serial).name, "ours");
        let plain = provider_volume(&volume(json!({"tags": []})), VolumeIdentity::Appearance);
        assert_eq!((plain.name.as_str(), plain.identity), ("n", None));
    }

    #[test]
    fn whatever_is_not_surely_a_data_disk_counts_as_a_root_disk() {
        for (kind, is_root) in [("DATADISK", false), ("ROOT", true), ("ISO", true), ("", true)] {
            let seen = provider_volume(&volume(json!({"type": kind})), VolumeIdentity::Serial);
            assert_eq!(seen.is_root, is_root, "{kind}");
        }
    }

    #[test]
    fn an_attached_volume_of_the_documentation_is_read() {
        let text = r#"{"id":"8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10","name":"volumed-m42-d0","type":"DATADISK","state":"Ready",
            "size":42949672960,"deviceid":4,"attached":"2026-05-04T09:21:07+0000","destroyed":false,
            "virtualmachineid":"5c1f0d7a-2f1e-4e0a-9f64-0c7a1b2d3e4f","vmname":"mig-appliance","hypervisor":"KVM"}"#;
        let seen = provider_volume(&serde_json::from_str(text).unwrap(), VolumeIdentity::Serial);
        assert_eq!(seen.size, Bytes(40 << 30));
        assert_eq!(
            seen.attached_to.as_deref(),
            Some("5c1f0d7a-2f1e-4e0a-9f64-0c7a1b2d3e4f")
        );
        assert_eq!(
            seen.identity,
            Some(Identity::Serial("8e6a7c2e9b1d4b579d0e".to_owned()))
        );
    }
}
