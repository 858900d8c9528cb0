//! `cargo xtask dist`: Debian packages of daemon, engine and tools, with manual pages, bills of materials and checksums.

mod check;
mod packages;
mod papers;
mod tools;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{check as must, output};
use crate::{console, workspace};

#[derive(Args)]
pub(crate) struct DistArgs {
    /// Also install, use, upgrade, remove and purge the packages in a clean Debian that boots in a virtual machine. Needs root,
    /// debootstrap and Debian's mirror; takes minutes.
    #[arg(long)]
    check: bool,
    /// Only that: the packages are there.
    #[arg(long, requires = "check")]
    built: bool,
}

/// A package, the crate that it is of, and the program in it.
struct Package {
    /// Of the package and the program.
    name: &'static str,
    of: &'static str,
}

/// In the order in which they need each other.
const PACKAGES: [Package; 3] = [
    Package {
        name: "volumectl",
        of: "volume-client",
    },
    Package {
        name: "volumed",
        of: "volumed",
    },
    Package {
        name: "migrate-engine",
        of: "migrate-engine",
    },
];

/// Where everything is put. Always here, whatever cargo's target folder is: the packages' metadata says so.
fn folder() -> PathBuf {
    workspace::root().join("target/dist")
}

/// Makes the packages; what an earlier run made is replaced.
pub(crate) fn dist(args: &DistArgs) -> Result<ExitCode> {
    if !args.built {
        make()?;
    }
    if args.check {
        check::run()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make() -> Result<()> {
    let tools = tools::ensure()?;
    let stage = folder().join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
    }
    fs::create_dir_all(&stage).with_context(|| format!("cannot make {}", stage.display()))?;

    console::step("release build");
    // Features by name: `--all-features` has the tests' crash points in it.
    let mut build = workspace::cargo();
    build.args([
        "build",
        "--release",
        "--locked",
        "--features",
        "volume-client/cli",
    ]);
    for package in &PACKAGES {
        build.args(["--package", package.of]);
    }
    must(&mut build)?;

    papers::manual_pages(&stage)?;
    papers::changelogs(&stage)?;
    papers::bills_of_materials(&tools, &stage)?;
    let made = packages::build(&tools)?;
    papers::checksums(&made)?;
    console::step("made");
    console::quote(&output(
        crate::command::command("ls")
            .args(["-l", "--human-readable"])
            .arg(folder()),
    )?);
    Ok(())
}
