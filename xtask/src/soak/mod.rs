//! `cargo xtask soak`: long runs in which everything goes wrong that can, and nothing may be lost, wrong or left behind.

mod abuse;
mod attach;
mod crash;
mod power;
mod swap;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

pub(crate) use abuse::{AbuseArgs, abuse};
pub(crate) use attach::{AttachArgs, attach};
pub(crate) use crash::{CrashArgs, crash};
pub(crate) use power::{PowerArgs, power};
pub(crate) use swap::{SwapArgs, swap};

use crate::command::{check, status, tee};
use crate::run::{self, Run};
use crate::{console, root, workspace};

/// A program that soaks, and how it is started.
struct Soak {
    /// The sub-command.
    name: &'static str,
    program: &'static str,
    /// What it is going to do, for people.
    what: String,
    /// Its options.
    plan: Vec<(&'static str, u64)>,
    /// Whether the programs are built already.
    built: bool,
    /// How the programs are built. In an emulated machine a debug build is several times as slow.
    profile: Profile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Debug,
    Release,
}

impl Soak {
    fn build(&self) -> Result<()> {
        let mut build = workspace::cargo();
        build.args(["build", "--workspace", "--all-features", "--bins"]);
        if self.profile == Profile::Release {
            build.arg("--release");
        }
        check(&mut build)
    }

    fn program(&self) -> Result<PathBuf> {
        let profile = match self.profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        Ok(workspace::target_dir()?.join(profile).join(self.program))
    }

    fn options(&self) -> impl Iterator<Item = String> {
        self.plan
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
    }
}

fn soak(soak: &Soak) -> Result<ExitCode> {
    if !soak.built {
        root::ensure_reachable()?;
        console::step("build");
        soak.build()?;
    }
    let passed = if root::is_root() {
        run_it(soak)?
    } else {
        console::say("not root: the rest runs through sudo");
        let mut again = root::ourselves_as_root();
        again.args(["soak", soak.name, "--built"]).args(soak.options());
        status(&mut again)?.success()
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_it(soak: &Soak) -> Result<bool> {
    let run = Run::start()?;
    let program = soak.program()?;
    console::step(&soak.what);
    let (status, said) = tee(run.command(program).args(soak.options()))?;
    if run::report_leaks(&run.leaks()?) {
        bail!("the soak left something behind; it has been removed now");
    }
    // The figures are the last line of output, whatever else had to be said.
    if let Some(figures) = said.lines().last() {
        console::say(figures);
    }
    Ok(status.success())
}
