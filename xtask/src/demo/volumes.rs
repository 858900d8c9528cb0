//! The migrated volumes seen from outside: which they are, what is on them, and that they are gone at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::content;
use super::daemon::Daemon;
use super::image::{PARTITION_OFFSET, RawDisk};
use crate::command::{command, output};
use crate::console;
use crate::run::Run;

/// The ids of the volumes in an engine's report, in its order. Only the key's name is relied upon.
pub(super) fn of_report(text: &str) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(text).context("cannot read the engine's report")?;
    let mut found = Vec::new();
    collect(&report, &mut found);
    Ok(found)
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(id)) = fields.get("volume_id")
                && !found.contains(id)
            {
                found.push(id.clone());
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Mounts the volume's file system read-only and compares every file with the original.
pub(super) fn verify_files(daemon: &Daemon<'_>, run: &Run, volume: &str, disk: &RawDisk) -> Result<()> {
    let device = device_of(daemon, volume)?;
    let mounted = Mounted::read_only(&device, &run.dir().join("mnt"))?;
    content::verify(&mounted.point, &disk.files)
}

/// The device that the daemon has verified for this very question.
fn device_of(daemon: &Daemon<'_>, volume: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Device {
        device_path: PathBuf,
    }
    let text = output(daemon.volumectl().args(["--json", "device", volume]))?;
    let device: Device = serde_json::from_str(&text).context("cannot read the answer about the device")?;
    Ok(device.device_path)
}

/// Fails when a loop device still stands on a file in `dir`.
pub(super) fn expect_no_loops(dir: &Path) -> Result<()> {
    let text = output(command("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]))?;
    let inside = format!("{}/", dir.display());
    let left: Vec<&str> = text.lines().filter(|line| line.contains(&inside)).collect();
    if !left.is_empty() {
        bail!("loop devices left: {}", left.join("; "));
    }
    Ok(())
}

/// A mounted file system, unmounted when dropped.
struct Mounted {
    point: PathBuf,
}

impl Mounted {
    fn read_only(device: &Path, point: &Path) -> Result<Self> {
        fs::create_dir_all(point).with_context(|| format!("cannot make {}", point.display()))?;
        let options = format!("ro,noload,offset={PARTITION_OFFSET}");
        output(
            command("mount")
                .args(["-t", "ext4", "-o", &options])
                .arg(device)
                .arg(point),
        )?;
        Ok(Self {
            point: point.to_owned(),
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = output(command("umount").arg(&self.point)) {
            console::warn(&format!("{error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_volumes_wherever_the_report_has_them_each_once_and_in_order() {
        let report =
            r#"{"disks":[{"name":"z","volume_id":"2"},{"volume_id":"1"}],"summary":{"volume_id":"2"}}"#;
        assert_eq!(of_report(report).unwrap(), ["2", "1"]);
    }
}
