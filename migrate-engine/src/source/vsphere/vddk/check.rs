//! Whether all of it is there: asked before anything is frozen.

use std::ffi::OsString;
use std::path::Path;

use super::{Vddk, VddkError, arguments};
use crate::process::{Command, NBDKIT, ProcessError};

/// How VMware calls the library; its version follows.
const LIBRARY: &str = "libvixDiskLib.so";
/// How the plugin calls itself.
const NAME: &str = "vddk";
/// What the plugin says only where it has loaded the library. Since nbdkit 1.29.2, its commit 8700649d.
const LOADED: &str = "vddk_library_version=";

impl Vddk {
    /// Looks for the library, and has nbdkit load its plugin and filters, and the plugin the library. Changes nothing.
    ///
    /// # Errors
    /// [`VddkError::NoLibrary`], [`VddkError::NoNbdkit`], [`VddkError::NoPlugin`], [`VddkError::AnotherPlugin`],
    /// [`VddkError::NoFilters`] or [`VddkError::NoLoad`]: what to install.
    pub async fn check(&self) -> Result<(), VddkError> {
        let libdir = &self.settings.libdir;
        if !holds_library(&libdir.join("lib64")).await && !holds_library(libdir).await {
            return Err(VddkError::NoLibrary {
                libdir: libdir.clone(),
            });
        }
        let told = self.dump(&[], &[]).await.map_err(|source| match source {
            ProcessError::Failed { .. } => VddkError::NoPlugin {
                plugin: self.settings.plugin.clone(),
                source,
            },
            source => VddkError::NoNbdkit { source },
        })?;
        let name = told.lines().find_map(|line| line.strip_prefix("name="));
        if name != Some(NAME) {
            return Err(VddkError::AnotherPlugin {
                plugin: self.settings.plugin.clone(),
                name: name.unwrap_or_default().to_owned(),
            });
        }
        let filters: Vec<OsString> = arguments::filters().map(OsString::from).collect();
        let filtered = self.dump(&filters, &[]).await;
        filtered.map_err(|source| VddkError::NoFilters { source })?;
        let words = match self.dump(&[], &[arguments::libdir(&self.settings)]).await {
            Ok(told) if told.lines().any(|line| line.starts_with(LOADED)) => return Ok(()),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        Err(VddkError::NoLoad {
            libdir: libdir.clone(),
            words,
        })
    }

    /// What nbdkit says of the plugin, with filters before it and parameters behind it. With its folder, the plugin loads the
    /// library.
    async fn dump(&self, filters: &[OsString], parameters: &[OsString]) -> Result<String, ProcessError> {
        let output = Command::new(NBDKIT)
            .at(&self.settings.nbdkit)
            .args(filters)
            .arg(&self.settings.plugin)
            .args(parameters)
            .arg("--dump-plugin")
            .output()
            .await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn holds_library(folder: &Path) -> bool {
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
        return false;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().to_string_lossy().starts_with(LIBRARY) {
            return true;
        }
    }
    false
}
