//! What this machine says: kernel, devices, disks, services. Programs are run with bounds, and none of them changes anything.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::parts::file;
use super::{LARGEST, Part};

/// The daemon's and the machine's own programs, by the file that holds what they say.
const PROGRAMS: [(&str, &str, &[&str]); 9] = [
    (
        "machine/lsblk.json",
        "lsblk",
        &["--json", "--bytes", "--output-all"],
    ),
    ("machine/losetup.txt", "losetup", &["--list"]),
    ("machine/disk-space.txt", "df", &["-h"]),
    ("machine/inodes.txt", "df", &["-i"]),
    ("machine/uname.txt", "uname", &["-a"]),
    ("machine/udev.txt", "udevadm", &["--version"]),
    ("machine/time.txt", "timedatectl", &["show"]),
    (
        "machine/qemu-storage-daemon.txt",
        "qemu-storage-daemon",
        &["--version"],
    ),
    ("machine/nbdkit.txt", "nbdkit", &["--version"]),
];

const FILES: [(&str, &str); 8] = [
    ("machine/os-release.txt", "/etc/os-release"),
    ("machine/mountinfo.txt", "/proc/self/mountinfo"),
    ("machine/partitions.txt", "/proc/partitions"),
    ("machine/diskstats.txt", "/proc/diskstats"),
    ("machine/meminfo.txt", "/proc/meminfo"),
    ("machine/uptime.txt", "/proc/uptime"),
    ("machine/pressure-io.txt", "/proc/pressure/io"),
    ("machine/boot-id.txt", "/proc/sys/kernel/random/boot_id"),
];

/// Of each block device, what tells which one it is.
const ATTRIBUTES: [&str; 9] = [
    "dev",
    "size",
    "ro",
    "diskseq",
    "serial",
    "device/serial",
    "device/vpd_pg80",
    "wwid",
    "loop/backing_file",
];

pub(super) fn parts(units: &[&'static str]) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    for (name, program, arguments) in PROGRAMS {
        parts.push(Part::new(name, run(program, arguments)));
    }
    for (name, path) in FILES {
        parts.push(Part::new(name, file(path.into())));
    }
    parts.push(Part::new("machine/sysfs-block.txt", async {
        Ok(block_devices().into_bytes())
    }));
    for unit in units {
        let name = format!("services/{unit}.txt");
        let unit: &'static str = unit;
        // The properties of a unit tell its environment; what is needed of it is in its file.
        let arguments = ["status", "--no-pager", "--lines=0", "--full", unit];
        parts.push(Part::new(name, async move { run("systemctl", &arguments).await }));
    }
    parts
}

/// What a program says, on both of its outputs, up to a bound. How it ended is told where it did not end well.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot run {program}: {error}");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Messages that people everywhere can read.
    let mut child = command
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (said, complained) = tokio::join!(drain(stdout), drain(stderr));
    let status = child.wait().await.map_err(failed)?;
    let mut said = said.map_err(failed)?;
    let complained = complained.map_err(failed)?;
    if said.is_empty() && !status.success() {
        let text = String::from_utf8_lossy(&complained);
        return Err(format!("{program} ended with {status}: {}", text.trim()));
    }
    if !complained.is_empty() {
        said.extend_from_slice(b"\n-- standard error --\n");
        said.extend_from_slice(&complained);
    }
    Ok(said)
}

/// Reads to the end and keeps as much as there is room for, so that nobody waits for us.
async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let Some(pipe) = pipe else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    let mut pipe = pipe.take(LARGEST as u64);
    pipe.read_to_end(&mut kept).await?;
    tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await?;
    Ok(kept)
}

fn block_devices() -> String {
    let mut names: Vec<_> = std::fs::read_dir("/sys/block")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    names.sort();
    names.iter().map(|path| block_device(path)).collect()
}

fn block_device(path: &Path) -> String {
    let mut text = format!("{}\n", path.display());
    for attribute in ATTRIBUTES {
        if let Ok(value) = std::fs::read(path.join(attribute)) {
            let value = String::from_utf8_lossy(&value);
            text.push_str(&format!("  {attribute} = {:?}\n", value.trim()));
        }
    }
    text
}
