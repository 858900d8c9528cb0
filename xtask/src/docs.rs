//! `cargo xtask docs`: the site of the documents, built by mdBook into `target/site`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::command::{check, command, output};
use crate::{console, workspace};

/// The version that is installed. A newer one may warn of other things, and shows pages otherwise.
const MDBOOK: &str = "0.5.4";

/// Builds the site; mdBook is installed into `target/tools` where it is not there.
pub(crate) fn build() -> Result<ExitCode> {
    let mdbook = mdbook()?;
    console::step("the site");
    check(command(&mdbook).arg("build").arg(workspace::root().join("docs")))?;
    let index = workspace::target_dir()?.join("site/index.html");
    console::say(&format!("{}", index.display()));
    Ok(ExitCode::SUCCESS)
}

fn mdbook() -> Result<PathBuf> {
    let tools = workspace::target_dir()?.join("tools");
    let mdbook = tools.join("bin/mdbook");
    let is_there = output(command(&mdbook).arg("--version")).is_ok_and(|said| said.contains(MDBOOK));
    if !is_there {
        console::step(&format!("install mdBook {MDBOOK} into {}", tools.display()));
        let mut install = workspace::cargo();
        install.args(["install", "mdbook", "--version", MDBOOK, "--locked", "--quiet"]);
        // It runs for a second: compiling it well takes longer than it ever saves.
        install.args(["--debug", "--no-default-features", "--features", "search"]);
        check(install.arg("--root").arg(&tools))?;
    }
    Ok(mdbook)
}
