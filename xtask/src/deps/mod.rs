//! The system packages we need: looks for programs and headers, installs the packages that bring what is missing.

pub(crate) mod kernel;
pub(crate) mod python;
mod requirement;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::command::{check, find};
use crate::console;
use crate::root::as_root;
use requirement::{REQUIREMENTS, Requirement};

/// Whether we may install packages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Said beforehand, by `--yes` or by CI.
    Given,
    /// Has to be asked for on the terminal.
    Ask,
}

/// As root: keeps services from starting, installs its arguments, and puts everything back.
const INSTALL_SCRIPT: &str = include_str!("install.sh");

/// Makes sure that every program and header we need is there. Nothing is done when nothing is missing.
pub(crate) fn ensure(consent: Consent) -> Result<()> {
    console::step("system packages");
    let (mut missing, mut asked) = (missing(), false);
    if missing.is_empty() {
        console::say("all there");
        return Ok(());
    }
    // What brings a program differs between releases: one that is still missing is tried with the next package that may
    // have it. And one installation may remove what an earlier one had brought (QEMU's tools from another release than
    // the emulator that is installed now): such a program begins with its first package.
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    loop {
        let packages: BTreeSet<&str> = missing
            .iter()
            .filter_map(|r| next_package(r, &mut tried))
            .collect();
        if packages.is_empty() {
            break;
        }
        announce(&missing, &packages);
        if !asked {
            ask(consent, &packages)?;
            asked = true;
        }
        install(&packages)?;
        missing = self::missing();
        if missing.is_empty() {
            return Ok(());
        }
    }
    bail!("still missing after installing: {}", names(&missing));
}

/// The package to try now for something that is missing, each once; `None` when there is no other.
fn next_package(
    requirement: &Requirement,
    tried: &mut BTreeMap<&'static str, usize>,
) -> Option<&'static str> {
    let place = tried.entry(requirement.probe.name()).or_default();
    let package = requirement.packages.get(*place).copied();
    *place += 1;
    package
}

fn missing() -> Vec<&'static Requirement> {
    REQUIREMENTS
        .iter()
        .filter(|requirement| !requirement.is_met())
        .collect()
}

fn names(missing: &[&Requirement]) -> String {
    missing
        .iter()
        .map(|r| r.probe.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn announce(missing: &[&Requirement], packages: &BTreeSet<&str>) {
    console::say("missing:");
    for requirement in missing {
        console::say(&format!("  {} ({})", requirement.probe, requirement.reason));
    }
    console::say(&format!("packages that bring them: {}", joined(packages)));
}

fn joined(packages: &BTreeSet<&str>) -> String {
    packages.iter().copied().collect::<Vec<_>>().join(" ")
}

fn ask(consent: Consent, packages: &BTreeSet<&str>) -> Result<()> {
    let by_hand = format!("apt-get install {}", joined(packages));
    if find("apt-get").is_none() {
        bail!("no apt-get here: install by your system's own means what Debian gives by `{by_hand}`");
    }
    if consent == Consent::Given {
        return Ok(());
    }
    if !console::is_interactive() {
        bail!("nobody here to ask: run `cargo xtask install-deps --yes`, or as root `{by_hand}`");
    }
    if !console::confirm("install these packages with apt-get?")? {
        bail!("not installed; do it by hand as root: `{by_hand}`");
    }
    Ok(())
}

fn install(packages: &BTreeSet<&str>) -> Result<()> {
    check(
        as_root("sh")
            .args(["-c", INSTALL_SCRIPT, "install-deps"])
            .args(packages),
    )
}
