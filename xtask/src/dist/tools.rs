//! The tools that make packages: cargo-deb and cargo-cyclonedx, at versions of ours, below cargo's target folder.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{check, command, output};
use crate::{console, workspace};

/// A tool and the version that is wanted.
const TOOLS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-cyclonedx", "0.5.9")];

/// Where the tools are.
pub(super) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// A command in the source tree; the tool finds the cargo that started us.
    pub(super) fn command(&self, tool: &str) -> std::process::Command {
        let mut command = command(self.bin.join(tool));
        command.current_dir(workspace::root());
        command
    }
}

/// Installs what is not there, or there in another version. They are built by themselves, whatever our own versions are.
pub(super) fn ensure() -> Result<Tools> {
    console::step("tools");
    let root = workspace::target_dir()?.join("tools");
    let there = output(
        workspace::cargo()
            .args(["install", "--list", "--root"])
            .arg(&root),
    )
    .unwrap_or_default();
    for (name, version) in TOOLS {
        if there.lines().any(|line| line == format!("{name} v{version}:")) {
            console::say(&format!("{name} {version}: there"));
            continue;
        }
        let mut install = workspace::cargo();
        install.args(["install", "--locked", "--quiet", "--force", "--version", version]);
        install.arg("--root").arg(&root);
        install.arg("--target-dir").arg(root.join("build")).arg(name);
        check(&mut install).with_context(|| format!("cannot install {name}"))?;
    }
    // Some hundred MiB that nothing needs once the tools are there.
    let build = root.join("build");
    if build.exists() {
        std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    }
    Ok(Tools {
        bin: root.join("bin"),
    })
}
