//! Everything that is in the guest's root: this machine's programs with their libraries, ours, and a few lines of `/etc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{libraries, modules};
use crate::binary;

/// Where the guest finds which modules to load, one path a line.
pub const MODULE_ORDER: &str = "/usr/lib/modules/order";

/// What this machine has to have; xtask installs it.
pub(super) const BUSYBOX: &str = "/usr/bin/busybox";
pub(super) const UDEVADM: &str = "/usr/bin/udevadm";
pub(super) const NBD_SERVER: &str = "/usr/bin/nbd-server";

const UDEV: &str = "/usr/lib/udev";

/// Programs that udev's rules for disks call.
const UDEV_PROGRAMS: [&str; 3] = ["ata_id", "cdrom_id", "scsi_id"];

/// Debian's rules, as far as disks are concerned.
const UDEV_RULES: [&str; 3] = [
    "50-udev-default.rules",
    "60-block.rules",
    "60-persistent-storage.rules",
];

const OUR_PROGRAMS: [&str; 5] = [
    "volumed",
    "volumectl",
    "migrate-engine",
    "attack-clients",
    "cut-clients",
];

const FOLDERS: [&str; 9] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/root",
    "/etc/nbd-server",
    "/etc/volumed",
    "/var/lib/volumed",
];

/// As on Debian, the old places are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

const TEXTS: [(&str, &str); 5] = [
    (
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nnbd:x:100:100::/:/bin/false\n",
    ),
    ("/etc/group", GROUPS),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    ("/etc/hosts", "127.0.0.1 localhost\n10.0.2.2 host\n"),
    ("/etc/udev/udev.conf", "udev_log=err\n"),
];

/// Those that udev's default rules give nodes to, ours, and nbd-server's.
const GROUPS: &str = "root:x:0:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\ndialout:x:20:\ncdrom:x:24:\ntape:x:26:\naudio:x:29:\n\
    video:x:44:\ninput:x:996:\nsgx:x:997:\nkvm:x:998:\nrender:x:999:\nkmem:x:15:\nnbd:x:100:\nvolumed:x:101:\n";

/// One thing in the guest's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GuestFile {
    pub(super) path: String,
    pub(super) content: Content,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    Folder,
    Text(String),
    Link(String),
    /// A file of this machine.
    Copy(PathBuf),
    /// A program of this machine, without what only a debugger needs.
    Stripped(PathBuf),
}

/// All of it, for the modules below `modules`; the same each time, as long as this machine has the same files.
pub(super) fn all(modules: &Path) -> Result<BTreeSet<GuestFile>> {
    let mut files = BTreeSet::new();
    let mut put = |path: String, content: Content| {
        files.insert(GuestFile { path, content });
    };
    for folder in FOLDERS {
        put(folder.to_owned(), Content::Folder);
    }
    for name in MERGED {
        put(format!("/usr/{name}"), Content::Folder);
        put(format!("/{name}"), Content::Link(format!("usr/{name}")));
    }
    for (path, text) in TEXTS {
        put(path.to_owned(), Content::Text(text.to_owned()));
    }
    for rule in UDEV_RULES {
        let path = format!("{UDEV}/rules.d/{rule}");
        put(path.clone(), Content::Copy(path.into()));
    }
    put(
        "/usr/lib/systemd/systemd-udevd".into(),
        Content::Link(UDEVADM.into()),
    );
    for applet in applets()? {
        put(format!("/usr/bin/{applet}"), Content::Link("busybox".into()));
    }

    let mut needed = BTreeSet::new();
    let udev_programs = UDEV_PROGRAMS.map(|name| format!("{UDEV}/{name}"));
    for program in [BUSYBOX, UDEVADM, NBD_SERVER]
        .into_iter()
        .chain(udev_programs.iter().map(String::as_str))
    {
        needed.extend(libraries::needed_by(Path::new(program))?);
        put(program.to_owned(), Content::Copy(program.into()));
    }
    for (name, path) in OUR_PROGRAMS
        .map(|name| (name, format!("/usr/bin/{name}")))
        .into_iter()
        .chain([("appliance-init", "/init".to_owned())])
    {
        let program = binary(name);
        needed.extend(libraries::needed_by(&program)?);
        put(path, Content::Stripped(program));
    }
    for library in needed {
        put(merged(&library)?, Content::Copy(library));
    }
    load_order(modules, &mut put)?;
    Ok(files)
}

fn load_order(modules: &Path, put: &mut impl FnMut(String, Content)) -> Result<()> {
    let mut order = String::new();
    for module in modules::wanted(modules)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let path = format!("/usr/lib/modules/{name}");
        order += &format!("{path}\n");
        put(path, Content::Copy(module));
    }
    put(MODULE_ORDER.to_owned(), Content::Text(order));
    Ok(())
}

fn applets() -> Result<Vec<String>> {
    let output = Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .context("cannot start busybox")?;
    ensure!(output.status.success(), "busybox cannot list what it is");
    let text = String::from_utf8(output.stdout).context("busybox lists something strange")?;
    Ok(text
        .lines()
        .filter(|name| *name != "busybox")
        .map(str::to_owned)
        .collect())
}

/// Where a library of this machine lies in the guest.
fn merged(library: &Path) -> Result<String> {
    let path = library.to_str().context("a library has a strange name")?;
    if path.starts_with("/usr/") {
        return Ok(path.to_owned());
    }
    Ok(format!("/usr{path}"))
}

/// The bytes of a file of this machine.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
