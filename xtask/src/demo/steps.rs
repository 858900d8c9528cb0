//! What the demo does, in order.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::daemon::{self, Daemon};
use super::image::RawDisk;
use super::{image, ova, pass, volumes};
use crate::console;
use crate::run::Run;

const MIB: u64 = 1 << 20;

/// Every step; a failure shows the daemon's log, and cleaning up is the run's business.
pub(super) fn all(run: &Run) -> Result<()> {
    in_order(run).inspect_err(|_| daemon::show_log(run.dir()))
}

fn in_order(run: &Run) -> Result<()> {
    let dir = run.dir();
    console::step("a qcow2 image and a two-disk OVA, as another platform would give them");
    let single = [image::build(dir, "web", 64 * MIB)?];
    let qcow2 = dir.join("web.qcow2");
    image::convert(&single[0].path, &qcow2, "qcow2", "")?;
    let pair = [
        image::build(dir, "system", 96 * MIB)?,
        image::build(dir, "data", 48 * MIB)?,
    ];
    let archive = ova::build(dir, "shop", &pair)?;

    console::step("the daemon, on its embedded cloud: a volume is a file, attaching it is a loop device");
    let mut daemon = Daemon::start(run)?;
    daemon.show(&["status"])?;

    console::step("the qcow2 image, written to the volume's device");
    let report = dir.join("report1.json");
    daemon.copy(&qcow2, &report, &[])?;
    let mut arrived = matched(&report, &single)?;

    console::step("the OVA, sent through the volumes' NBD exports");
    let report = dir.join("report2.json");
    // A Unix socket: the demo takes no port from anybody.
    let socket = dir.join("nbd.sock");
    daemon.copy(
        &archive,
        &report,
        &["--via-nbd", "--nbd-listen", &socket.to_string_lossy()],
    )?;
    arrived.extend(matched(&report, &pair)?);

    console::step("what the daemon knows");
    for resource in ["volumes", "devices", "mappings", "operations", "leases"] {
        daemon.show(&[resource, "list"])?;
    }

    console::step("the volumes, mounted read-only");
    for (volume, disk) in &arrived {
        volumes::verify_files(&daemon, run, volume, disk)?;
        pass(&format!(
            "{} files of {} are on volume {volume}, equal",
            disk.files.len(),
            name(&disk.path)
        ));
    }

    console::step("the end");
    for (volume, _) in &arrived {
        daemon.show(&["detach", volume])?;
    }
    volumes::expect_no_loops(dir)?;
    pass("every volume detached, no device left");
    let status = daemon.stop()?;
    if !status.success() {
        bail!("volumed did not end cleanly: {status}");
    }
    pass("the daemon ended with exit code 0");
    Ok(())
}

/// The volumes of a report, each with the disk that it came from.
fn matched<'d>(report: &Path, disks: &'d [RawDisk]) -> Result<Vec<(String, &'d RawDisk)>> {
    let text = fs::read_to_string(report).with_context(|| format!("cannot read {}", report.display()))?;
    let volumes = volumes::of_report(&text)?;
    if volumes.len() != disks.len() {
        bail!(
            "the report tells of {} volumes where {} disks were copied",
            volumes.len(),
            disks.len()
        );
    }
    Ok(volumes.into_iter().zip(disks).collect())
}

fn name(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
