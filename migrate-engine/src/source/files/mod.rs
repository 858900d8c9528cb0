//! A folder of packages and images, or one of them, as a source of replications.
//!
//! A file is frozen by nobody writing to it: each is recognised by device, inode, size and time when it is opened, when it
//! is served, and after the last read. What changed in a file is not told by anything; whether anything did, is.

mod error;
mod find;
mod frozen;
mod lodging;
mod served;
mod spec;

use std::path::{Path, PathBuf};

use async_trait::async_trait;

pub use error::FileSourceError;

use super::{Cycle, Depth, Frozen, Options, Source, SourceFailure, Wanted, blocking, open_path};
use crate::model::MachineSpec;
use find::{Candidate, Seen};
use frozen::FrozenFiles;
use lodging::Lodgings;

/// OVA and OVF packages and disk images in one folder, not in those below it; or a single one of them.
///
/// A machine's id is its file's name, its path that of the file. What begins with a dot is no machine, and neither are files
/// that belong to another one. In a folder no symbolic links are followed.
pub struct FileSource {
    path: PathBuf,
    options: Options,
}

impl FileSource {
    /// What is at `path`, which is looked at anew whenever something is asked. In a folder [`Options::format`] says nothing:
    /// what a file is, is told by its name and its content.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, options: Options) -> Self {
        let path = path.into();
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { path, options }
    }

    async fn candidates(&self) -> Result<Vec<Candidate>, SourceFailure> {
        let path = self.path.clone();
        let found = blocking::run(move |_| Ok(find::candidates(&path))).await?;
        Ok(found.map_err(|source| FileSourceError::Place {
            place: self.path.clone(),
            source,
        })?)
    }

    /// What goes by this name, path or id.
    async fn named(&self, wanted: &str) -> Result<Vec<Seen>, SourceFailure> {
        let candidates = self.candidates().await?;
        let by_file = candidates.iter().find(|file| file.is(wanted, &self.path));
        if let Some(file) = by_file {
            return Ok(vec![find::look(file, &self.options).await]);
        }
        let mut seen = find::look_at_all(&candidates, &self.options).await;
        seen.retain(|seen| seen.spec.name == wanted);
        Ok(seen)
    }

    fn not_found(&self, wanted: &str) -> FileSourceError {
        FileSourceError::NotFound {
            wanted: wanted.to_owned(),
            place: self.path.clone(),
        }
    }

    fn folders(&self) -> [&Path; 2] {
        [&self.options.run_dir, &self.options.scratch_dir]
    }
}

#[async_trait]
impl Source for FileSource {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    async fn machines(&self, wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        refuse_datacenter(wanted.datacenter.as_deref())?;
        let seen = match &wanted.machine {
            Some(wanted) => self.named(wanted).await?,
            None => find::look_at_all(&self.candidates().await?, &self.options).await,
        };
        Ok(seen.into_iter().map(|seen| seen.spec).collect())
    }

    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        refuse_datacenter(datacenter)?;
        let mut seen = self.named(wanted).await?;
        let Some(one) = seen.pop() else {
            return Err(self.not_found(wanted).into());
        };
        if !seen.is_empty() {
            seen.push(one);
            let files = seen.into_iter().map(|seen| seen.spec.path).collect();
            let wanted = wanted.to_owned();
            return Err(FileSourceError::Ambiguous { wanted, files }.into());
        }
        match one.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(one.spec),
        }
    }

    /// Unpacks and verifies all of it; there is nothing to freeze.
    async fn freeze(&self, machine: &MachineSpec, cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        self.clean_up(machine, &cycle.owner).await?;
        let candidates = self.candidates().await?;
        let file = candidates.into_iter().find(|file| file.id == machine.id);
        let file = file.ok_or_else(|| self.not_found(&machine.id))?;
        let tenant = lodging::tenant(machine, &cycle.owner);
        let lodgings = Lodgings::make(self.folders(), &tenant).map_err(FileSourceError::Lodging)?;
        let options = file.options(&lodgings.options(&self.options));
        let opened = open_path(file.path.clone(), &options, Depth::Whole).await?;
        file.judge(&opened)?;
        Ok(Box::new(FrozenFiles::new(opened, options, lodgings)?))
    }

    /// What is left are the folders of processes that were killed.
    async fn clean_up(&self, machine: &MachineSpec, owner: &str) -> Result<(), SourceFailure> {
        let tenant = lodging::tenant(machine, owner);
        let folders = self.folders().map(Path::to_owned);
        let cleared = blocking::run(move |_| {
            folders
                .iter()
                .try_for_each(|folder| lodging::clear(folder, &tenant))
        });
        Ok(cleared.await.map_err(FileSourceError::Lodging)?)
    }
}

fn refuse_datacenter(wanted: Option<&str>) -> Result<(), FileSourceError> {
    match wanted {
        None => Ok(()),
        Some(wanted) => Err(FileSourceError::Datacenter {
            wanted: wanted.to_owned(),
        }),
    }
}
