//! The packages themselves, by cargo-deb from the metadata in each crate's `Cargo.toml`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::tools::Tools;
use super::{PACKAGES, folder};
use crate::command::check;
use crate::console;

/// Makes them of what is built and staged; those of earlier versions go.
pub(super) fn build(tools: &Tools) -> Result<Vec<PathBuf>> {
    console::step("packages");
    for old in made()? {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    for package in &PACKAGES {
        let mut deb = tools.command("cargo-deb");
        deb.args(["--no-build", "--quiet", "--package", package.of, "--output"]);
        check(deb.arg(folder()))?;
    }
    let made = made()?;
    ensure!(
        made.len() == PACKAGES.len(),
        "not every package was made: {made:?}"
    );
    Ok(made)
}

/// The packages that are there.
pub(super) fn made() -> Result<Vec<PathBuf>> {
    let folder = folder();
    let listed = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found: Vec<_> = listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .collect();
    found.sort();
    Ok(found)
}
