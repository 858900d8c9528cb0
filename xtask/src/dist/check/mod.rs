//! `cargo xtask dist --check`: the packages in a clean Debian that boots, from the installation to the purge.

mod clean_root;
mod machine;
mod older;

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::{folder, packages};
use crate::command::{check, command};
use crate::{console, root};
use clean_root::CleanRoot;

/// What the guest runs; it says `PASSED` at its end, or `FAILED` and why.
const SCRIPT: &str = include_str!("script.sh");

/// Installs, uses, upgrades, removes and purges; the transcript is left in `target/dist/check/transcript`.
pub(super) fn run() -> Result<()> {
    ensure!(root::is_root(), "a clean Debian can only be made by root");
    let debs = packages::made()?;
    ensure!(!debs.is_empty(), "no packages here: run `cargo xtask dist` first");
    let place = folder().join("check");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;

    let older = older::package(&place)?;
    console::step("a clean Debian");
    let clean = CleanRoot::ensure(&place)?;
    clean.satisfy(&debs)?;
    let copied = clean.copy(&place.join("root"))?;
    let to = copied.path().join("root/packages");
    fs::create_dir_all(to.join("older")).context("cannot make a folder for the packages")?;
    for deb in &debs {
        check(command("cp").arg(deb).arg(&to))?;
    }
    check(command("cp").arg(&older).arg(to.join("older")))?;
    copied.run_at_start(SCRIPT)?;
    let image = copied.image(&place.join("image"))?;

    console::step("the packages, in a machine of their own");
    let transcript = machine::run(&clean, &image, &place);
    let _ = fs::remove_file(&image);
    let transcript = transcript?;
    console::quote(&transcript);
    if !transcript.lines().any(|line| line.trim_end() == "PASSED") {
        bail!(
            "the packages did not do what they should: {}",
            place.join("transcript").display()
        );
    }
    Ok(())
}
