//! What of a folder's files are machines: by their names, and by what is in them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;

use super::{FileSourceError, spec};
use crate::model::MachineSpec;
use crate::source::file::{SourceFile, Stamp};
use crate::source::format::{Look, look as look_inside};
use crate::source::{Options, SourceFailure, SourceMachine, look_at};

/// How names of packages and images end. Files of other names are taken for images where their first bytes say so.
const ENDINGS: [&str; 10] = [
    "ova", "ovf", "qcow2", "qcow", "img", "raw", "vmdk", "vhd", "vpc", "vhdx",
];
/// How many files are looked at at once.
const AT_ONCE: usize = 4;

/// A file that may be a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The file's name.
    pub(super) id: String,
    pub(super) path: PathBuf,
    /// The folder, resolved, that it must not lead out of. `None` where the file itself was named.
    folder: Option<PathBuf>,
}

/// A file that was looked at.
pub(super) struct Seen {
    pub(super) spec: MachineSpec,
    /// Why it cannot be replicated.
    pub(super) refusal: Option<SourceFailure>,
    path: PathBuf,
    /// The files that it is made of besides.
    parts: Vec<PathBuf>,
}

/// The files at `place` that may be machines, in the order of their names. Opens those only whose names say nothing.
pub(super) fn candidates(place: &Path) -> io::Result<Vec<Candidate>> {
    if !std::fs::metadata(place)?.is_dir() {
        let name = place.file_name().unwrap_or(place.as_os_str());
        return Ok(vec![Candidate {
            id: name.to_string_lossy().into_owned(),
            path: place.to_owned(),
            folder: None,
        }]);
    }
    let folder = std::fs::canonicalize(place)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if may_be_machine(&name, &path, entry.file_type()?) {
            found.push(Candidate {
                id: name.to_string_lossy().into_owned(),
                path,
                folder: Some(folder.clone()),
            });
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

fn may_be_machine(name: &OsStr, path: &Path, kind: FileType) -> bool {
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    if is_hidden || kind.is_dir() {
        return false;
    }
    let ending = path.extension().map(OsStr::to_ascii_lowercase);
    let is_known = |ending: &OsStr| ENDINGS.iter().any(|known| ending == *known);
    ending.as_deref().is_some_and(is_known) || (kind.is_file() && looks_like_image(path))
}

fn looks_like_image(path: &Path) -> bool {
    SourceFile::open(path).is_ok_and(|file| matches!(look_inside(&file), Ok(Look::Image(_))))
}

impl Candidate {
    /// Whether `wanted` is its id or its path, also as it is seen through `place`.
    pub(super) fn is(&self, wanted: &str, place: &Path) -> bool {
        let wanted_path = Path::new(wanted);
        wanted == self.id || wanted_path == self.path || wanted_path == place.join(&self.id)
    }

    /// How it is opened.
    pub(super) fn options(&self, options: &Options) -> Options {
        Options {
            format: options.format.filter(|_| self.folder.is_none()),
            ..options.clone()
        }
    }

    /// Whether the machine that was opened is in its folder, and is one whose changes would be noticed.
    pub(super) fn judge(&self, machine: &SourceMachine) -> Result<(), FileSourceError> {
        for disk in &machine.disks {
            if !disk.stamps().all(Stamp::tells_writes) {
                let disk = disk.label.clone();
                return Err(FileSourceError::Traceless { disk });
            }
            let leads_out = |folder: &Path| {
                let holder = disk.path.as_deref();
                holder.is_some_and(|holder| holder.parent() != Some(folder))
            };
            if self.folder.as_deref().is_some_and(leads_out) {
                let path = self.path.clone();
                return Err(FileSourceError::Elsewhere { path });
            }
        }
        Ok(())
    }
}

/// Looks at one file.
pub(super) async fn look(file: &Candidate, options: &Options) -> Seen {
    let opened = match look_at(file.path.clone(), &file.options(options)).await {
        Ok(machine) => file
            .judge(&machine)
            .map(|()| machine)
            .map_err(SourceFailure::from),
        Err(error) => Err(error.into()),
    };
    let path = file.path.clone();
    match opened {
        Ok(machine) => {
            let stamps = machine.disks.iter().flat_map(|disk| disk.stamps());
            let parts = stamps.map(|stamp| stamp.path().to_owned());
            Seen {
                parts: parts.filter(|part| *part != path).collect(),
                spec: spec::of(file, &machine),
                refusal: None,
                path,
            }
        }
        Err(refusal) => Seen {
            spec: spec::refused(file, &refusal),
            refusal: Some(refusal),
            path,
            parts: Vec::new(),
        },
    }
}

/// Looks at all files. Those that another machine is made of are left out.
pub(super) async fn look_at_all(files: &[Candidate], options: &Options) -> Vec<Seen> {
    let looks: Vec<_> = files.iter().map(|file| look(file, options)).collect();
    let mut seen: Vec<Seen> = futures_util::stream::iter(looks)
        .buffered(AT_ONCE)
        .collect()
        .await;
    let parts: HashSet<PathBuf> = seen.iter().flat_map(|seen| seen.parts.clone()).collect();
    seen.retain(|seen| !parts.contains(&seen.path));
    seen
}
