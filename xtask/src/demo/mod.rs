//! `cargo xtask demo`: migrates a disk image and an OVA through the real daemon, and checks what arrived.

mod content;
mod daemon;
mod image;
mod ova;
mod steps;
mod volumes;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::command::{check, status};
use crate::deps::{self, Consent};
use crate::run::{self, Run};
use crate::{console, root, workspace};

/// Builds as whoever calls, shows as root. Leaves no device, process or file behind, however it ends.
pub(crate) fn run(consent: Consent, is_built: bool) -> Result<ExitCode> {
    if !is_built {
        deps::ensure(consent)?;
        root::ensure_reachable()?;
        console::step("build");
        let build = [
            "build",
            "--workspace",
            "--bins",
            "--features",
            "volume-client/cli",
        ];
        check(workspace::cargo().args(build))?;
    }
    if !root::is_root() {
        console::say("not root: the rest runs through sudo");
        let passed = status(root::ourselves_as_root().args(["demo", "--built"]))?.success();
        return Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    show()?;
    Ok(ExitCode::SUCCESS)
}

fn show() -> Result<()> {
    let start = Instant::now();
    let run = Run::start()?;
    steps::all(&run)?;
    let leaks = run.leaks()?;
    if run::report_leaks(&leaks) {
        bail!("the demo left something behind; it has been removed now");
    }
    drop(run);
    pass("no device, process or file left behind");
    console::say(&format!("demo passed in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Something that was checked, and holds.
fn pass(what: &str) {
    console::say(&format!("PASS  {what}"));
}
