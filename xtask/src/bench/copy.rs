//! `cargo xtask bench copy`: one image over NBD to a block device, by each tool in turn.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::cases::{CASES, Case};
use super::report::{Report, Row, Runs};
use super::source::Source;
use super::tools::{Layout, OURS, Target, Tool, Way};
use super::{machine, many};
use crate::command::{check, command, output, status};
use crate::run::{self, Run};
use crate::{console, root, workspace};

const MIB: u64 = 1 << 20;

#[derive(Args)]
pub(crate) struct CopyArgs {
    /// Also write the result here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Bytes of data that are copied, in MiB; the sparse image is four times as large.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(4..))]
    size_mib: u32,
    /// How often each tool copies each image.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only the cases of these keys; all of them otherwise.
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure this build of migrate-engine instead of building it.
    #[arg(long, value_name = "PROGRAM")]
    engine: Option<PathBuf>,
}

/// Measures and prints; whether a goal was reached is reported and is no failure.
pub(crate) fn copy(args: &CopyArgs) -> Result<ExitCode> {
    let engine = match &args.engine {
        Some(engine) => engine
            .canonicalize()
            .with_context(|| format!("cannot find {}", engine.display()))?,
        None => build_engine()?,
    };
    if !root::is_root() {
        return through_sudo(args, &engine);
    }
    let run = Run::start()?;
    let report = measure(&run, args, &engine)?;
    if run::report_leaks(&run.leaks()?) {
        bail!("the bench left something behind; it has been removed now");
    }
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build_engine() -> Result<PathBuf> {
    console::step("build");
    check(workspace::cargo().args(["build", "--release", "--package", "migrate-engine"]))?;
    Ok(workspace::target_dir()?.join("release/migrate-engine"))
}

fn through_sudo(args: &CopyArgs, engine: &Path) -> Result<ExitCode> {
    root::ensure_reachable()?;
    let mut again = root::ourselves_as_root();
    again.args([
        "bench",
        "copy",
        "--size-mib",
        &args.size_mib.to_string(),
        "--rounds",
        &args.rounds.to_string(),
    ]);
    again.arg("--engine").arg(engine);
    if !args.only.is_empty() {
        again.arg("--only").arg(args.only.join(","));
    }
    if let Some(file) = &args.json {
        again.arg("--json").arg(file);
    }
    Ok(if status(&mut again)?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(run: &Run, args: &CopyArgs, engine: &Path) -> Result<Report> {
    let known = CASES
        .iter()
        .map(|case| case.key)
        .chain(many::KEYS)
        .collect::<Vec<_>>();
    if let Some(unknown) = args.only.iter().find(|key| !known.contains(&key.as_str())) {
        bail!("no case `{unknown}`; there are {}", known.join(", "));
    }
    let wanted = |key: &str| args.only.is_empty() || args.only.iter().any(|only| only == key);
    let versions = ["qemu-img", "nbdcopy", "nbdkit", "nbd-server"]
        .map(machine::version)
        .to_vec();
    let machine = machine::describe();
    console::step(&machine);
    versions.iter().for_each(|version| console::say(version));
    let data = u64::from(args.size_mib) * MIB;
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| wanted(case.key)) {
        let place = Place::choose(run, data * 2)?;
        console::step(&format!(
            "{}: {} MiB of data, {} rounds",
            case.name, args.size_mib, args.rounds
        ));
        let row = measure_case(run, &place.dir, case, args, engine)?;
        show(&row);
        rows.push(row);
    }
    for key in many::KEYS.into_iter().filter(|key| wanted(key)) {
        let place = Place::choose(run, data * 3)?;
        let plan = many::Plan {
            run,
            engine,
            dir: &place.dir,
            data,
            rounds: args.rounds,
        };
        let row = plan.measure(key)?;
        show(&row);
        rows.push(row);
    }
    Ok(Report {
        machine,
        versions,
        rows,
    })
}

fn measure_case(run: &Run, dir: &Path, case: &Case, args: &CopyArgs, engine: &Path) -> Result<Row> {
    let image = dir.join("source.raw");
    let size = build_image(&image, u64::from(args.size_mib), case.stride)?;
    let source = Source::serve(run, case.server, &image)?;
    let tools: Vec<Tool> = [Tool::Ours]
        .into_iter()
        .chain(case.peers.iter().copied().map(Tool::Peer))
        .collect();
    let layout = Layout {
        count: args.size_mib.into(),
        stride: case.stride,
    };
    let target = Target::make(dir, "target.raw", size, layout)?;
    let mut runs = Runs::new();
    // Round 0 is not counted: it pays for caches and memory that nobody has touched yet.
    for round in 0..=args.rounds as usize {
        // Each tool goes first in turn, so that none always follows the same one.
        for turn in 0..tools.len() {
            let tool = tools[(round + turn) % tools.len()];
            target.wipe()?;
            let way = Way {
                run,
                engine,
                image: &image,
                uri: &source.uri(),
                device: &target.device,
            };
            let sample = tool.measure(&way, case.tuning)?;
            console::say(&format!(
                "round {round}: {:<31} {:.3} s, processor {:.2} s, memory {:.0} MiB",
                tool.name(),
                sample.seconds,
                sample.cpu,
                sample.peak_mib
            ));
            // Not through the device: its page cache would be in the way of who writes to it directly.
            output(command("cmp").arg(&image).arg(&target.file))
                .with_context(|| format!("{} made a copy that differs", tool.name()))?;
            if round > 0 {
                runs.entry(tool.name().to_owned()).or_default().push(sample);
            }
        }
    }
    drop(source);
    fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
    Row::of(case.name, case.goal, OURS, runs).context("a tool was never run")
}

fn show(row: &Row) {
    let tell = |name: &str, seconds: f64| {
        let (cpu, peak) = (row.cpu[name], row.peak_mib[name]);
        console::say(&format!(
            "{name:<31} {seconds:.3} s (median), processor {cpu:.2} s, memory {peak:.0} MiB"
        ));
    };
    tell(OURS, row.ours);
    row.peers.iter().for_each(|(peer, seconds)| tell(peer, *seconds));
    console::say(&format!(
        "ratio to the best peer: {:.2} (goal {:.2})",
        row.ratio, row.goal
    ));
}

/// Writes `data` MiB of random bytes, each followed by `stride - 1` MiB of hole. Returns the image's size in bytes.
pub(super) fn build_image(path: &Path, data: u64, stride: u64) -> Result<u64> {
    let context = || format!("cannot write {}", path.display());
    let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    let mut file = File::create(path).with_context(context)?;
    let mut piece = vec![0; usize::try_from(MIB)?];
    for index in 0..data {
        std::io::Read::read_exact(&mut random, &mut piece).context("cannot read random bytes")?;
        file.seek(SeekFrom::Start(index * stride * MIB))
            .with_context(context)?;
        file.write_all(&piece).with_context(context)?;
    }
    let size = data * stride * MIB;
    file.set_len(size).with_context(context)?;
    Ok(size)
}

/// Where images and targets lie: in memory where there is room, so that no disk is measured.
struct Place {
    dir: PathBuf,
}

impl Place {
    /// Room for so many bytes of images and targets at a time.
    fn choose(run: &Run, bytes: u64) -> Result<Self> {
        let needed = bytes * 11 / 10;
        if machine::available_memory() < needed {
            console::warn("not enough memory for the images: they lie on disk, which is measured as well");
            return Ok(Self { dir: run.temp_dir() });
        }
        let dir = run.dir().join("memory");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // A file system of the run's own: whatever ends the run, the sweeper finds and unmounts it.
        output(
            command("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={needed}"), "tmpfs"])
                .arg(&dir),
        )?;
        Ok(Self { dir })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.dir.ends_with("memory")
            && let Err(error) = output(command("umount").arg(&self.dir))
        {
            console::warn(&format!("{error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_sparse_image_holds_as_much_data_as_a_full_one() {
        let path = std::env::temp_dir().join(format!("xt-sparse-{}", std::process::id()));
        let size = build_image(&path, 4, 4);
        let meta = path.metadata();
        fs::remove_file(&path).unwrap();
        assert_eq!(size.unwrap(), 16 * MIB);
        let allocated = meta.unwrap().blocks() * 512;
        assert!((4 * MIB..8 * MIB).contains(&allocated), "{allocated}");
    }
}
