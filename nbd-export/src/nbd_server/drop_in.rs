//! One export on disk: its drop-in file, which is also our record of it, and its private device node.
//!
//! The node is made from the *number* of the verified descriptor, so nbd-server, which opens its file anew for each
//! client, never resolves the caller's path. Removing the node also shuts out clients whose serving process was
//! forked while the export was still configured.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::config::{MARKER, NbdServerConfig, sync_parent, write_durably};
use crate::{Access, ExportError, ExportName, ExportSource, SourceIdentity, runtime::remove_if_there};

const IDENTITY: &str = "# identity ";

/// The exports of one drop-in directory.
#[derive(Debug)]
pub(super) struct DropIns {
    directory: PathBuf,
    nodes: PathBuf,
    boot: String,
}

/// One export as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DropIn {
    pub(super) name: ExportName,
    pub(super) access: Access,
    pub(super) identity: SourceIdentity,
    /// Recorded under the boot that is running; a device number of another boot means nothing.
    pub(super) this_boot: bool,
}

impl DropIns {
    pub(super) fn open(config: &NbdServerConfig) -> Result<Self, ExportError> {
        for directory in [&config.drop_in_dir, &config.node_dir] {
            fs::create_dir_all(directory)
                .map_err(ExportError::io(format!("creating {}", directory.display())))?;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot
            .map_err(ExportError::io("reading the boot id"))?
            .trim()
            .to_owned();
        Ok(Self {
            directory: config.drop_in_dir.clone(),
            nodes: config.node_dir.clone(),
            boot,
        })
    }

    fn file(&self, name: &ExportName) -> PathBuf {
        self.directory.join(format!("{name}.conf"))
    }

    /// Who may connect. Not `.conf`: it is not to be read as configuration.
    pub(super) fn allowed(&self, name: &ExportName) -> PathBuf {
        self.directory.join(format!("{name}.allow"))
    }

    fn node(&self, name: &ExportName) -> PathBuf {
        self.nodes.join(name.as_str())
    }

    /// Our exports, sorted by name. Unreadable records of ours are an error, files of others are not ours.
    pub(super) fn all(&self) -> Result<Vec<DropIn>, ExportError> {
        let doing = || ExportError::io(format!("reading {}", self.directory.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(doing())? {
            let path = entry.map_err(doing())?.path();
            if path.extension().is_none_or(|extension| extension != "conf") {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(doing())?;
            if text.lines().next() == Some(MARKER) {
                let record = self.parse(&path, &text);
                let problem = || format!("{} is ours but cannot be read", path.display());
                found.push(record.ok_or_else(|| ExportError::Config { problem: problem() })?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Whether a file of somebody else has the name.
    pub(super) fn is_foreign(&self, name: &ExportName) -> bool {
        fs::read_to_string(self.file(name)).is_ok_and(|text| text.lines().next() != Some(MARKER))
    }

    /// Makes node, then record. flush and FUA are off in nbd-server unless asked for; trim stays off.
    pub(super) fn write(
        &self,
        name: &ExportName,
        source: &ExportSource,
        access: Access,
    ) -> Result<(), ExportError> {
        self.make_node(name, source)?;
        let text = format!(
            "{MARKER}\n{IDENTITY}{} {}\n[{name}]\n    exportname = {}\n    authfile = {}\n    readonly = {}\n    flush = true\n    fua = true\n",
            self.boot,
            source.identity(),
            self.node(name).display(),
            self.allowed(name).display(),
            access == Access::ReadOnly,
        );
        write_durably(&self.file(name), &text)
    }

    /// Makes the node that nbd-server opens; one that is right stays, so that clients never miss it.
    pub(super) fn make_node(&self, name: &ExportName, source: &ExportSource) -> Result<(), ExportError> {
        let there = rustix::fs::stat(self.node(name))
            .ok()
            .and_then(|stat| SourceIdentity::of(&stat));
        if there == Some(source.identity()) {
            return Ok(());
        }
        remove_if_there(&self.node(name))?;
        match source.identity() {
            SourceIdentity::Block { .. } => self.make_device(name, source.identity()),
            SourceIdentity::File { .. } => std::os::unix::fs::symlink(source.path(), self.node(name))
                .map_err(ExportError::io(format!("linking {}", self.node(name).display()))),
        }
    }

    fn make_device(&self, name: &ExportName, identity: SourceIdentity) -> Result<(), ExportError> {
        let SourceIdentity::Block { device, .. } = identity else {
            return Ok(());
        };
        let path = self.node(name);
        mknodat(
            CWD,
            &path,
            FileType::BlockDevice,
            Mode::from_raw_mode(0o600),
            device,
        )
        .map_err(ExportError::io(format!("making device node {}", path.display())))
    }

    /// Takes the node away for as long as the caller decides: from here on nobody can open the export.
    /// Returns what puts it back.
    pub(super) fn close_node(&self, name: &ExportName) -> Result<ClosedNode, ExportError> {
        let node = self.node(name);
        let aside = self.nodes.join(format!(".{name}"));
        match fs::rename(&node, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ExportError::io(format!("closing {}", node.display()))(error))
            }
            _ => Ok(ClosedNode { node, aside }),
        }
    }

    /// Removes record and node; those that are not there are fine.
    pub(super) fn remove(&self, name: &ExportName) -> Result<(), ExportError> {
        let file = self.file(name);
        remove_if_there(&self.node(name))?;
        remove_if_there(&self.nodes.join(format!(".{name}")))?;
        remove_if_there(&file)?;
        // Last: from here on everybody would be let in, if there still were something.
        remove_if_there(&self.allowed(name))?;
        sync_parent(&file).map_err(ExportError::io(format!("removing {}", file.display())))
    }

    fn parse(&self, path: &Path, text: &str) -> Option<DropIn> {
        let name = ExportName::new(path.file_stem()?.to_str()?).ok()?;
        let record = text.lines().find_map(|line| line.strip_prefix(IDENTITY))?;
        let (boot, identity) = record.split_once(' ')?;
        let read_only = text.lines().any(|line| line.trim() == "readonly = true");
        let access = if read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        Some(DropIn {
            name,
            access,
            identity: identity.parse().ok()?,
            this_boot: boot == self.boot,
        })
    }
}

impl DropIn {
    /// Whether the device that was verified is still the one with that number.
    pub(super) fn is_current(&self) -> bool {
        self.this_boot && self.identity.is_current()
    }
}

/// A node taken aside.
pub(super) struct ClosedNode {
    node: PathBuf,
    aside: PathBuf,
}

impl ClosedNode {
    /// Puts the node back.
    pub(super) fn reopen(self) -> Result<(), ExportError> {
        fs::rename(&self.aside, &self.node)
            .map_err(ExportError::io(format!("reopening {}", self.node.display())))
    }
}
