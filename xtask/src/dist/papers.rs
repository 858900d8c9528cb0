//! What goes with the programs: manual pages and completions, changelogs, bills of materials, checksums.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::tools::Tools;
use super::{PACKAGES, Package, folder};
use crate::command::{check, command, output};
use crate::{console, workspace};

/// cargo-cyclonedx writes a file of this name beside each `Cargo.toml` of the workspace.
const NAME: &str = "dist-sbom";

/// Made from the definitions of the command lines, by a program of the tests, which knows all of them.
pub(super) fn manual_pages(stage: &Path) -> Result<()> {
    console::step("manual pages and completions");
    let mut write = workspace::cargo();
    write.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "whole-system-tests",
        "--bin",
        "manual-pages",
        "--",
    ]);
    check(write.arg(stage.join("pages")))
}

/// Debian's form of a changelog, one entry; the project's own changelog goes with each package.
pub(super) fn changelogs(stage: &Path) -> Result<()> {
    let date = output(
        command("git")
            .args(["log", "-1", "--format=%aD"])
            .current_dir(workspace::root()),
    )
    .context("the date of the changelog is that of the last commit")?;
    for Package { name, .. } in PACKAGES {
        let place = stage.join(name);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let entry = format!(
            "{name} ({}-1) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- The volumed project \
             <volumed@localhost>  {}\n",
            env!("CARGO_PKG_VERSION"),
            date.trim()
        );
        fs::write(place.join("changelog"), entry).context("cannot write a changelog")?;
    }
    Ok(())
}

/// CycloneDX, a file for each package: what the programs are built of, with versions, checksums and licences.
pub(super) fn bills_of_materials(tools: &Tools, stage: &Path) -> Result<()> {
    console::step("bills of materials");
    let place = stage.join("sbom");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let mut write = tools.command("cargo-cyclonedx");
    write.args([
        "cyclonedx",
        "--format",
        "json",
        "--spec-version",
        "1.5",
        "--override-filename",
        NAME,
    ]);
    let written = output(&mut write);
    for member in members()? {
        let file = member.join(format!("{NAME}.json"));
        let package = PACKAGES.iter().find(|package| member.ends_with(package.of));
        match package {
            Some(package) if file.exists() => {
                let named = format!("{}.cdx.json", package.name);
                for to in [place.join(&named), folder().join(&named)] {
                    fs::copy(&file, &to).with_context(|| format!("cannot write {}", to.display()))?;
                }
            }
            _ => {}
        }
        let _ = fs::remove_file(&file);
    }
    written.context("the bills of materials are not written")?;
    for Package { name, .. } in PACKAGES {
        let file = place.join(format!("{name}.cdx.json"));
        ensure!(file.exists(), "there is no bill of materials of {name}");
    }
    Ok(())
}

/// The folders of the workspace's crates.
fn members() -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(workspace::root()).context("cannot list the source tree")?;
    Ok(listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("Cargo.toml").exists())
        .collect())
}

/// `SHA256SUMS`, for `sha256sum --check`.
pub(super) fn checksums(packages: &[PathBuf]) -> Result<()> {
    let mut sum = command("sha256sum");
    sum.current_dir(folder());
    for package in packages {
        sum.arg(package.file_name().context("a package has a name")?);
    }
    for Package { name, .. } in PACKAGES {
        sum.arg(format!("{name}.cdx.json"));
    }
    let sums = output(&mut sum)?;
    fs::write(folder().join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")
}
