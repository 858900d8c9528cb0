//! Programs that come as Python packages, each in one version: a virtual environment below cargo's target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::{console, workspace};

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Makes sure that they are there, in the versions that this tree wants. One that is there stays.
pub(crate) fn ensure() -> Result<()> {
    console::step("programs of Python");
    let place = place()?;
    // Written last: an environment without it is half made.
    let mark = place.join("requirements.txt");
    if is_there() {
        console::say("there");
        return Ok(());
    }
    make(&place)?;
    fs::write(&mark, REQUIREMENTS).with_context(|| format!("cannot write {}", mark.display()))
}

/// Whether they are there, in these versions.
pub(crate) fn is_there() -> bool {
    let made = place().and_then(|place| Ok(fs::read_to_string(place.join("requirements.txt"))?));
    made.is_ok_and(|made| made == REQUIREMENTS)
}

fn make(place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    output(command("python3").args(["-m", "venv"]).arg(place))
        .context("cannot make a virtual environment; it needs Debian's package python3-venv")?;
    let wanted = place.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS).with_context(|| format!("cannot write {}", wanted.display()))?;
    let pip = place.join("bin/pip");
    output(
        command(pip)
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&wanted),
    )
    .context("cannot install the Python packages")?;
    console::say(&format!("installed in {}", place.display()));
    Ok(())
}

/// One of them.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(place()?.join("bin").join(name))
}

fn place() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("python"))
}
