//! What an entry of the file of sources says of VMware's own library for reading disks, the VDDK.
//!
//! ```toml
//! vddk = "/opt/vmware-vix-disklib-distrib"  # where it was unpacked; turns it on
//! vddk_transports = "nbdssl:nbd"            # as VMware writes them, in the order of preference
//! nbdkit = "nbdkit"                         # the program that runs it
//! vddk_plugin = "vddk"                      # nbdkit's plugin for it: a name, or the path of a file
//! ```

use std::path::{Path, PathBuf};

/// VMware's own library for reading disks, and who runs it. Whether all of it is there is seen when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VddkSettings {
    /// Where VMware's distribution was unpacked.
    pub libdir: PathBuf,
    /// The ways to the bytes that it may take.
    pub transports: String,
    /// A program on the search path, or the path of one.
    pub nbdkit: PathBuf,
    /// A plugin of nbdkit, or the path of one.
    pub plugin: PathBuf,
}

/// The keys as they stand in the file.
#[derive(Debug)]
pub(super) struct VddkKeys {
    pub(super) libdir: Option<PathBuf>,
    pub(super) transports: Option<String>,
    pub(super) nbdkit: Option<PathBuf>,
    pub(super) plugin: Option<PathBuf>,
}

impl VddkSettings {
    /// The distribution at `libdir`, run as Debian and Fedora install nbdkit.
    #[must_use]
    pub fn new(libdir: PathBuf) -> Self {
        Self {
            libdir,
            transports: "nbdssl:nbd".to_owned(),
            nbdkit: "nbdkit".into(),
            plugin: "vddk".into(),
        }
    }
}

impl VddkKeys {
    /// What they mean in a file of `folder`; nothing where the library is not named. The error is what is wrong with them.
    pub(super) fn settings(self, folder: &Path) -> Result<Option<VddkSettings>, String> {
        let Some(libdir) = self.libdir else {
            return match self.lonely() {
                Some(key) => Err(format!(
                    "has {key} without vddk: name the folder of VMware's VDDK by vddk, or remove {key}"
                )),
                None => Ok(None),
            };
        };
        let usual = VddkSettings::new(folder.join(libdir));
        let transports = self.transports.unwrap_or(usual.transports);
        let is_one = |mode: &str| !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !transports.split(':').all(is_one) {
            return Err(format!(
                "has vddk_transports that are none: write such as `nbdssl:nbd` in the place of `{}`",
                transports.escape_debug()
            ));
        }
        let program = |path: PathBuf| match path.components().count() {
            1 => path,
            _ => folder.join(path),
        };
        Ok(Some(VddkSettings {
            libdir: usual.libdir,
            transports,
            nbdkit: self.nbdkit.map_or(usual.nbdkit, program),
            plugin: self.plugin.map_or(usual.plugin, program),
        }))
    }

    fn lonely(&self) -> Option<&'static str> {
        match self {
            Self {
                transports: Some(_), ..
            } => Some("vddk_transports"),
            Self { nbdkit: Some(_), .. } => Some("nbdkit"),
            Self { plugin: Some(_), .. } => Some("vddk_plugin"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(libdir: Option<&str>) -> VddkKeys {
        VddkKeys {
            libdir: libdir.map(PathBuf::from),
            transports: None,
            nbdkit: None,
            plugin: None,
        }
    }

    fn settings(keys: VddkKeys) -> Result<Option<VddkSettings>, String> {
        keys.settings(Path::new("/etc/migrate-engine"))
    }

    #[test]
    fn only_the_folder_is_needed() {
        assert_eq!(settings(keys(None)), Ok(None));
        let usual = VddkSettings::new("/opt/vddk".into());
        assert_eq!(settings(keys(Some("/opt/vddk"))), Ok(Some(usual)));
    }

    #[test]
    fn names_stay_names_and_paths_are_those_of_the_file() {
        let found = settings(VddkKeys {
            transports: Some("san:nbdssl".to_owned()),
            nbdkit: Some("nbdkit-1.42".into()),
            plugin: Some("plugins/vddk.so".into()),
            ..keys(Some("vddk"))
        });
        let expected = VddkSettings {
            libdir: "/etc/migrate-engine/vddk".into(),
            transports: "san:nbdssl".to_owned(),
            nbdkit: "nbdkit-1.42".into(),
            plugin: "/etc/migrate-engine/plugins/vddk.so".into(),
        };
        assert_eq!(found, Ok(Some(expected)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let alone = |change: fn(&mut VddkKeys)| {
            let mut keys = keys(None);
            change(&mut keys);
            settings(keys).unwrap_err()
        };
        for (error, key) in [
            (
                alone(|keys| keys.transports = Some("nbd".to_owned())),
                "vddk_transports",
            ),
            (alone(|keys| keys.nbdkit = Some("nbdkit".into())), "nbdkit"),
            (alone(|keys| keys.plugin = Some("vddk".into())), "vddk_plugin"),
        ] {
            assert!(error.contains(&format!("has {key} without vddk")), "{error}");
        }
        for transports in ["", ":", "nbdssl:", "nbdssl nbd", "nbd,san", "nbd\nsan"] {
            let error = settings(VddkKeys {
                transports: Some(transports.to_owned()),
                ..keys(Some("/opt/vddk"))
            });
            assert!(error.unwrap_err().contains("nbdssl:nbd"), "{transports:?}");
        }
    }
}
