//! `volumed backup` and `volumed restore`: the database as a file, without the API.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::store::{self, Replace, RestoreOptions};

#[derive(Debug, Args)]
pub(super) struct BackupFlags {
    /// The database
    #[arg(long, value_name = "PATH")]
    database: PathBuf,
    /// The file; one that is there already stays
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
}

impl BackupFlags {
    pub(super) fn back_up(self) -> anyhow::Result<()> {
        let is_replaced = if self.force {
            Replace::Always
        } else {
            Replace::Never
        };
        let size = store::backup_to(&self.database, &self.to, is_replaced)?;
        writeln!(io::stdout(), "backed up to {} ({size} bytes)", self.to.display())?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct RestoreFlags {
    /// The database whose place the copy takes; it is kept under a name with the time
    #[arg(long, value_name = "PATH")]
    database: PathBuf,
    /// The copy
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Take a copy of another installation's database than the one in place
    #[arg(long)]
    other_installation: bool,
    /// The VM was replaced: take the one that the daemon finds itself in for its own
    #[arg(long)]
    other_vm: bool,
}

impl RestoreFlags {
    pub(super) fn restore(self) -> anyhow::Result<()> {
        let options = RestoreOptions {
            other_installation: self.other_installation,
            other_vm: self.other_vm,
        };
        let restored = store::restore(&self.database, &self.from, options)?;
        let of = restored.of.as_deref().unwrap_or("a time that it does not say");
        let mut out = io::stdout().lock();
        writeln!(out, "restored {} from a copy of {of}", self.database.display())?;
        if let Some(kept) = restored.kept {
            writeln!(out, "the former database is {}", kept.display())?;
        }
        writeln!(
            out,
            "the daemon compares each volume with cloud and kernel before anything is changed about it; `volumectl findings` shows \
             which ones wait"
        )?;
        Ok(())
    }
}
