//! What is measured: the copy tools with the options of who wants them fast, and the target's device.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::console;
use crate::run::Run;

const MIB: u64 = 1 << 20;

/// The name of ours among the tools.
pub(super) const OURS: &str = "migrate-engine";

/// How a copy is made, as far as its users would say so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) target_is_zero: bool,
    pub(super) verified: bool,
    pub(super) unhashed: bool,
    /// Many requests in flight are worth it.
    pub(super) slow_source: bool,
}

/// What we are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    QemuImg,
    NbdCopy,
    QemuImgThenCmp,
    QemuImgThenCompare,
    NbdCopyThenCmp,
    NbdCopyThenCompare,
    OursUnhashed,
    Dd,
}

/// One of those who copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Ours,
    Peer(Peer),
}

/// Where a copy is made.
pub(super) struct Way<'a> {
    pub(super) run: &'a Run,
    pub(super) engine: &'a Path,
    pub(super) image: &'a Path,
    pub(super) uri: &'a str,
    pub(super) device: &'a Path,
}

/// What one copy cost.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Processor time of the tool, without the server's and the kernel's threads.
    pub(super) cpu: f64,
    pub(super) peak_mib: f64,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::Peer(peer) => peer.name(),
        }
    }

    /// The programs that run one after the other.
    fn commands(self, way: &Way<'_>, tuning: Tuning) -> Vec<Command> {
        let engine = |more: &[&str]| {
            let mut command = timed(way.run, way.engine);
            command.arg("bench-copy").arg(way.uri).arg(way.device).args(more);
            if tuning.target_is_zero {
                command.arg("--target-is-zero");
            }
            command
        };
        match self {
            Self::Ours if tuning.verified => vec![engine(&["--verify"])],
            Self::Ours if tuning.unhashed => vec![engine(&["--unhashed"])],
            Self::Ours => vec![engine(&[])],
            Self::Peer(Peer::OursUnhashed) => vec![engine(&["--unhashed"])],
            Self::Peer(Peer::QemuImg) => vec![qemu_img(way, tuning)],
            Self::Peer(Peer::NbdCopy) => vec![nbdcopy(way, tuning)],
            Self::Peer(Peer::QemuImgThenCmp) => vec![qemu_img(way, tuning), cmp(way)],
            Self::Peer(Peer::QemuImgThenCompare) => vec![qemu_img(way, tuning), compare(way)],
            Self::Peer(Peer::NbdCopyThenCmp) => vec![nbdcopy(way, tuning), cmp(way)],
            Self::Peer(Peer::NbdCopyThenCompare) => vec![nbdcopy(way, tuning), compare(way)],
            Self::Peer(Peer::Dd) => vec![dd(way)],
        }
    }

    /// Copies once; the cost of all of its processes, from the start of the first to the end of the last.
    pub(super) fn measure(self, way: &Way<'_>, tuning: Tuning) -> Result<Sample> {
        let mut sample = Sample::default();
        let start = Instant::now();
        for command in &mut self.commands(way, tuning) {
            let told = way.run.dir().join("times");
            command.env("TIME_FILE", &told);
            output(command)?;
            let (cpu, peak) = read_times(&told)?;
            sample.cpu += cpu;
            sample.peak_mib = sample.peak_mib.max(peak);
        }
        sample.seconds = start.elapsed().as_secs_f64();
        Ok(sample)
    }
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::QemuImg => "qemu-img convert",
            Self::NbdCopy => "nbdcopy",
            Self::QemuImgThenCmp => "qemu-img convert, then cmp",
            Self::QemuImgThenCompare => "qemu-img convert, then compare",
            Self::NbdCopyThenCmp => "nbdcopy, then cmp",
            Self::NbdCopyThenCompare => "nbdcopy, then qemu-img compare",
            Self::OursUnhashed => "without a digest",
            Self::Dd => "dd oflag=direct",
        }
    }
}

/// A program under GNU time, which tells what it cost: `user system peak`, in seconds and KiB.
fn timed(run: &Run, program: impl AsRef<Path>) -> Command {
    let mut command = run.command("sh");
    let script = r#"exec /usr/bin/time -f "%U %S %M" -o "$TIME_FILE" "$0" "$@""#;
    command.args(["-c", script]).arg(program.as_ref());
    command
}

fn read_times(file: &Path) -> Result<(f64, f64)> {
    let text = fs::read_to_string(file).context("GNU time told nothing")?;
    let numbers: Vec<f64> = text
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    match numbers[..] {
        [user, system, kib] => Ok((user + system, kib / 1024.0)),
        _ => anyhow::bail!("GNU time told `{}`", text.trim()),
    }
}

fn qemu_img(way: &Way<'_>, tuning: Tuning) -> Command {
    let mut command = timed(way.run, "qemu-img");
    command.args("convert -n -W -m16 -t none -T none -f raw -O raw".split(' '));
    if tuning.target_is_zero {
        command.arg("--target-is-zero");
    }
    command.arg(way.uri).arg(way.device);
    command
}

fn nbdcopy(way: &Way<'_>, tuning: Tuning) -> Command {
    let mut command = timed(way.run, "nbdcopy");
    command.arg("--flush");
    if tuning.target_is_zero {
        command.arg("--destination-is-zero");
    }
    if tuning.slow_source {
        command.args(["--connections=8", "--threads=8", "--request-size=1048576"]);
    }
    command.arg(way.uri).arg(way.device);
    command
}

/// The image's own file is compared, which no remote user could: in the peers' favour.
fn cmp(way: &Way<'_>) -> Command {
    let mut command = timed(way.run, "cmp");
    command.arg(way.image).arg(way.device);
    command
}

fn compare(way: &Way<'_>) -> Command {
    let mut command = timed(way.run, "qemu-img");
    command.args("compare -f raw -F raw -T none".split(' '));
    command.arg(way.uri).arg(way.device);
    command
}

fn dd(way: &Way<'_>) -> Command {
    let mut command = timed(way.run, "dd");
    command.args(["bs=1M", "oflag=direct", "conv=fdatasync", "status=none"]);
    command.arg(format!("if={}", way.image.display()));
    command.arg(format!("of={}", way.device.display()));
    command
}

/// A fresh loop device with direct I/O on a file. Taken away when dropped, the file too.
pub(super) struct Target {
    pub(super) file: PathBuf,
    pub(super) device: PathBuf,
    layout: Layout,
}

/// Where there is data: `count` times one MiB, and `stride` MiB from each to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) count: u64,
    pub(super) stride: u64,
}

impl Target {
    /// The file is zero. Where it will hold data its memory is there already: what it costs to get that is no tool's affair.
    pub(super) fn make(dir: &Path, name: &str, size: u64, layout: Layout) -> Result<Self> {
        let file = dir.join(name);
        let made = File::create(&file).with_context(|| format!("cannot make {}", file.display()))?;
        made.set_len(size)
            .with_context(|| format!("cannot size {}", file.display()))?;
        wipe(&file, layout)?;
        let said = output(
            command("losetup")
                .args(["--direct-io=on", "--find", "--show"])
                .arg(&file),
        )?;
        Ok(Self {
            file,
            device: PathBuf::from(said.trim()),
            layout,
        })
    }

    /// Makes it zero again, where it is.
    pub(super) fn wipe(&self) -> Result<()> {
        wipe(&self.file, self.layout)
    }
}

fn wipe(path: &Path, layout: Layout) -> Result<()> {
    let context = || format!("cannot wipe {}", path.display());
    let file = File::options().write(true).open(path).with_context(context)?;
    let zeroes = vec![0; usize::try_from(MIB)?];
    for index in 0..layout.count {
        file.write_all_at(&zeroes, index * layout.stride * MIB)
            .with_context(context)?;
    }
    Ok(())
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Err(error) = output(command("losetup").arg("-d").arg(&self.device)) {
            console::warn(&format!("{error:#}"));
        }
        let _ = fs::remove_file(&self.file);
    }
}
