//! A package of a daemon of the project's own past, to upgrade from: older program, unit and configuration, and an older schema.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::super::packages;
use crate::command::{check, command, output};
use crate::{console, workspace};

/// A commit whose daemon writes version 2 of the schema, runs as root, and knows no packages.
const COMMIT: &str = "2c3dd53";
/// Older than any that was ever packaged.
const VERSION: &str = "0.0.9-1";

/// Builds it, or returns the one that an earlier run built.
pub(super) fn package(place: &Path) -> Result<PathBuf> {
    let deb = place.join(format!("volumed_{VERSION}_amd64.deb"));
    if deb.exists() {
        return Ok(deb);
    }
    console::step(&format!("the daemon of {COMMIT}, to upgrade from"));
    let source = place.join("older-source");
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    let unpack = format!("git archive {COMMIT} | tar -x -C '{}'", source.display());
    check(command("sh").args(["-c", &unpack]).current_dir(workspace::root()))
        .with_context(|| format!("{COMMIT} is not in this clone's history"))?;
    let target = workspace::target_dir()?;
    let mut build = workspace::cargo();
    build.current_dir(&source);
    build.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "volumed",
        "--target-dir",
    ]);
    // A folder of its own: programs of the same name are beside each other otherwise.
    check(build.arg(target.join("older")))?;
    assemble(&source, &target.join("older/debug/volumed"), place, &deb)?;
    fs::remove_dir_all(&source).context("cannot remove the older source")?;
    Ok(deb)
}

/// Today's package with the older files in it: today's scripts, too, since there were none.
fn assemble(source: &Path, program: &Path, place: &Path, deb: &Path) -> Result<()> {
    let today = packages::made()?
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("volumed_"))
        })
        .context("no package of volumed here")?;
    let tree = place.join("older-tree");
    let _ = fs::remove_dir_all(&tree);
    check(command("dpkg-deb").arg("--raw-extract").arg(&today).arg(&tree))?;
    for (from, to) in [
        (program.to_owned(), "usr/bin/volumed"),
        (
            source.join("systemd/volumed.service"),
            "lib/systemd/system/volumed.service",
        ),
        (
            source.join("systemd/volumed.socket"),
            "lib/systemd/system/volumed.socket",
        ),
        (
            source.join("systemd/volumed.sysusers.conf"),
            "usr/lib/sysusers.d/volumed.conf",
        ),
        (
            source.join("systemd/volumed.tmpfiles.conf"),
            "usr/lib/tmpfiles.d/volumed.conf",
        ),
        (source.join("docs/volumed.toml"), "etc/volumed/volumed.toml"),
    ] {
        fs::copy(&from, tree.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    check(command("strip").arg(tree.join("usr/bin/volumed")))?;
    fs::remove_file(tree.join("usr/lib/sysctl.d/10-volumed.conf"))
        .context("today's settings are not the older ones")?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("cannot read the package's control file")?;
    let lines = text.lines().map(|line| match line.starts_with("Version:") {
        true => format!("Version: {VERSION}"),
        false => line.to_owned(),
    });
    let text: String = lines.map(|line| line + "\n").collect();
    fs::write(&control, text).context("cannot write the package's control file")?;
    let _ = fs::remove_file(tree.join("DEBIAN/md5sums"));
    output(
        command("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&tree)
            .arg(deb),
    )?;
    fs::remove_dir_all(&tree).context("cannot remove the older package's tree")
}
