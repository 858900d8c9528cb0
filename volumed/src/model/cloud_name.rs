//! The name that a volume of ours has in the cloud: says whose it is, and finds it when an answer was lost.

use super::VolumeId;

/// The name of a volume that an installation makes.
#[must_use]
pub fn cloud_name(install_id: &str, volume: VolumeId) -> String {
    format!("vd-{install_id}-{volume}")
}

/// The volume that such a name is of, where this installation gave it.
#[must_use]
pub fn volume_of_cloud_name(install_id: &str, name: &str) -> Option<VolumeId> {
    let id = name.strip_prefix("vd-")?.strip_prefix(install_id)?;
    id.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_volume_and_to_no_other_installations() {
        let id = VolumeId::new();
        let name = cloud_name("0a1b2c3d", id);
        assert_eq!(volume_of_cloud_name("0a1b2c3d", &name), Some(id));
        assert_eq!(volume_of_cloud_name("0a1b2c3", &name), None);
        assert_eq!(volume_of_cloud_name("0a1b2c3d", "vd-0a1b2c3d-disk"), None);
        assert_eq!(volume_of_cloud_name("0a1b2c3d", "web"), None);
    }
}
