//! The kernel and the root that the guest boots from: found or built, and kept for the next run.
//!
//! The kernel is Debian's, laid by `cargo xtask install-deps` (or `test`) into the folder `appliance` of cargo's target
//! folder. The root is built here, under a name that follows from everything in it.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha1::{Digest, Sha1};

use super::cpio::Archive;
use super::guest_files::{self, BUSYBOX, Content, GuestFile, NBD_SERVER, UDEVADM};

/// The emulator.
pub(super) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// What to boot.
#[derive(Debug, Clone)]
pub(super) struct BootImage {
    pub(super) kernel: PathBuf,
    pub(super) root: PathBuf,
}

/// Whether a virtual machine can be booted here; says aloud what is missing where not.
///
/// # Panics
/// In CI (`CI` is set), where nothing may be skipped.
#[must_use]
pub fn is_bootable() -> bool {
    let kernel = kernel();
    let needed = [QEMU, BUSYBOX, UDEVADM, NBD_SERVER].map(Path::new);
    let missing = needed
        .into_iter()
        .chain([kernel.as_path()])
        .find(|path| !path.exists());
    let Some(missing) = missing else {
        return true;
    };
    let advice = format!(
        "{} is missing: run `cargo xtask install-deps` on Debian for x86-64",
        missing.display()
    );
    assert!(std::env::var_os("CI").is_none(), "CI must run this: {advice}");
    eprintln!("SKIPPED: needs a virtual machine: {advice}");
    false
}

/// The folder of what is kept between runs.
pub(super) fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let target = test.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    target
        .expect("tests lie in cargo's target folder")
        .join("appliance")
}

fn kernel() -> PathBuf {
    folder().join("kernel/vmlinuz")
}

impl BootImage {
    /// Finds the kernel, and the root or builds it. The caller holds the turn: nobody else builds or boots meanwhile.
    pub(super) fn prepare() -> Result<Self> {
        let files = guest_files::all(&folder().join("kernel/modules"))?;
        let root = folder().join(format!("root-{}.cpio", key(files.iter())?));
        if !root.exists() {
            remove_former_roots()?;
            build(files.iter(), &root)?;
        }
        Ok(Self {
            kernel: kernel(),
            root,
        })
    }
}

/// What the root is called after: all that is in it; files by place, size and time, since reading them takes longer.
fn key<'a>(files: impl Iterator<Item = &'a GuestFile>) -> Result<String> {
    let mut hash = Sha1::new();
    for file in files {
        hash.update(format!("{file:?}"));
        if let Content::Copy(path) | Content::Stripped(path) = &file.content {
            let meta = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
            hash.update(format!("{} {}.{}", meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn remove_former_roots() -> Result<()> {
    for entry in fs::read_dir(folder())
        .context("cannot list what is kept")?
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with("root-") {
            fs::remove_file(entry.path()).context("cannot remove a former root")?;
        }
    }
    Ok(())
}

/// Writes the whole root beside its place, then puts it there: a test that is killed leaves no half root.
fn build<'a>(files: impl Iterator<Item = &'a GuestFile>, root: &Path) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("root-")
        .tempdir_in(folder())
        .context("cannot make a folder")?;
    let unfinished = scratch.path().join("root");
    let mut archive = Archive::new(BufWriter::new(File::create(&unfinished)?));
    // Where the kernel's messages and the first process's complaints go.
    archive.device("/dev/console", (5, 1))?;
    for file in files {
        add(&mut archive, file, scratch.path()).with_context(|| format!("cannot add {}", file.path))?;
    }
    archive.finish()?;
    fs::rename(&unfinished, root).context("cannot put the root in its place")
}

fn add(archive: &mut Archive<impl io::Write>, file: &GuestFile, scratch: &Path) -> Result<()> {
    let path = &file.path;
    match &file.content {
        Content::Folder => archive.folder(path)?,
        Content::Link(target) => archive.link(path, target)?,
        Content::Text(text) => archive.file(path, 0o644, text.as_bytes())?,
        Content::Copy(source) => archive.file(path, 0o755, &guest_files::read(source)?)?,
        Content::Stripped(source) => archive.file(path, 0o755, &stripped(source, scratch)?)?,
    }
    Ok(())
}

fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let result = scratch.join("stripped");
    let output = Command::new("strip")
        .arg("-o")
        .arg(&result)
        .arg(program)
        .output()
        .context("cannot start strip")?;
    if !output.status.success() {
        bail!("strip failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    guest_files::read(&result)
}
