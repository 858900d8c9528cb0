//! Debian's cloud kernel for the virtual appliance: fetched by apt, unpacked below cargo's target folder, never installed.
//!
//! Installing a kernel would run hooks that build an initramfs and change how this machine boots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Consent, install};
use crate::command::{check, command, find, output};
use crate::{console, workspace};

/// Depends on the package of the newest kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Makes sure that the kernel is there. One that is there stays, also when Debian has a newer one, until
/// `cargo clean`. Of two that do this at once, one has done it in vain.
pub(crate) fn ensure(consent: Consent) -> Result<()> {
    console::step("kernel of the virtual appliance");
    let folder = workspace::target_dir()?.join("appliance");
    let place = folder.join("kernel");
    if is_there(&place) {
        console::say("there");
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!("no apt-get here: the virtual appliance needs Debian's package {META_PACKAGE}");
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let scratch = Scratch::below(&folder)?;
    let package = fetch(&scratch.0, consent)?;
    let unpacked = unpack(&package, &scratch.0)?;
    match fs::rename(unpacked, &place) {
        Err(error) if !is_there(&place) => Err(error).context("cannot put the kernel in its place"),
        _ => Ok(()),
    }
}

/// Renamed into its place as a whole, it is there wholly or not at all.
fn is_there(place: &Path) -> bool {
    place.join("vmlinuz").exists()
}

/// A folder that is removed again. One of a process that was killed has its id, which comes again.
struct Scratch(PathBuf);

impl Scratch {
    fn below(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("fetching-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            console::warn(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// Lists may be missing (a new container) or older than what the mirror still has.
fn fetch(into: &Path, consent: Consent) -> Result<PathBuf> {
    let known = download(into);
    if known.is_ok() {
        return known;
    }
    if consent == Consent::Ask && !console::confirm("refresh the package lists with apt-get?")? {
        return known;
    }
    install(&BTreeSet::new()).context("cannot refresh the package lists")?;
    download(into)
}

fn download(into: &Path) -> Result<PathBuf> {
    let described = output(command("apt-cache").args(["show", "--no-all-versions", META_PACKAGE]))?;
    let package = real_package(&described)
        .with_context(|| format!("{META_PACKAGE} does not name the kernel that it brings"))?;
    output(command("apt-get").args(["download", package]).current_dir(into))?;
    console::say(package);
    only_entry(into, "")
}

/// The first package that a control record depends on.
fn real_package(described: &str) -> Option<&str> {
    let line = described.lines().find_map(|line| line.strip_prefix("Depends:"))?;
    line.split([' ', ',', '(']).find(|word| !word.is_empty())
}

/// Unpacks what the appliance needs of a package; returns the folder that is to be put in place.
fn unpack(package: &Path, scratch: &Path) -> Result<PathBuf> {
    let (whole, kernel) = (scratch.join("whole"), scratch.join("kernel"));
    check(command("dpkg-deb").arg("-x").arg(package).arg(&whole))?;
    fs::create_dir(&kernel).context("cannot make a folder for the kernel")?;
    let image = only_entry(&whole.join("boot"), "vmlinuz-")?;
    fs::rename(image, kernel.join("vmlinuz")).context("cannot move the kernel")?;
    let modules = only_entry(&whole.join("lib/modules"), "")?;
    fs::rename(modules.join("kernel"), kernel.join("modules")).context("cannot move the modules")?;
    Ok(kernel)
}

fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let listed = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let entries = listed.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(prefix)
    });
    let mut paths = entries.map(|entry| entry.path());
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("not exactly one {prefix}* in {}", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_package_names_the_kernel() {
        let described = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-3\n\
                         Depends: linux-image-6.1.0-57-cloud-amd64 (= 6.1.192-3)\nSection: kernel\n";
        assert_eq!(real_package(described), Some("linux-image-6.1.0-57-cloud-amd64"));
        assert_eq!(real_package("Depends: a, b\n"), Some("a"));
        assert_eq!(real_package("Package: x\n"), None);
    }
}
