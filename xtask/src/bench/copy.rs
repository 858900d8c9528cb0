//! `cargo xtask bench copy`: one image over NBD to a block device, by each tool in turn.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::machine;
use super::report::{Report, Row};
use super::tools::{OURS, Source, Target, Tool};
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
    /// Measure this build of migrate-engine instead of building it.
    #[arg(long, value_name = "PROGRAM")]
    engine: Option<PathBuf>,
}

/// An image to copy, and how much faster than the best peer we mean to be.
struct Case {
    name: &'static str,
    goal: Option<f64>,
    /// One MiB in this many holds data, the others are holes.
    stride: u64,
}

const CASES: [Case; 2] = [
    Case {
        name: "random, nbdkit to loop",
        goal: Some(1.20),
        stride: 1,
    },
    Case {
        name: "sparse, 25 % data, extents known, nbdkit to loop",
        goal: Some(1.30),
        stride: 4,
    },
];

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
    let tools = [Tool::Engine(engine.to_owned()), Tool::QemuImg, Tool::NbdCopy];
    let versions = ["qemu-img", "nbdcopy", "nbdkit"].map(machine::version).to_vec();
    let machine = machine::describe();
    console::step(&machine);
    versions.iter().for_each(|version| console::say(version));
    let place = Place::choose(run, u64::from(args.size_mib) * MIB)?;
    let mut rows = Vec::new();
    for case in &CASES {
        console::step(&format!(
            "{}: {} MiB of data, {} rounds",
            case.name, args.size_mib, args.rounds
        ));
        let row = measure_case(run, &place.dir, case, args, &tools)?;
        show(&row);
        rows.push(row);
    }
    Ok(Report {
        machine,
        versions,
        rows,
    })
}

fn measure_case(run: &Run, dir: &Path, case: &Case, args: &CopyArgs, tools: &[Tool]) -> Result<Row> {
    let image = dir.join("source.raw");
    let size = build_image(&image, u64::from(args.size_mib), case.stride)?;
    let source = Source::serve(run, &image)?;
    let mut runs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    // Round 0 is not counted: it pays for caches and memory that nobody has touched yet.
    for round in 0..=args.rounds as usize {
        // Each tool goes first in turn, so that none always follows the same one.
        for turn in 0..tools.len() {
            let tool = &tools[(round + turn) % tools.len()];
            let target = Target::make(dir, size)?;
            let seconds = tool.time(run, &source.socket, &target.device)?.as_secs_f64();
            console::say(&format!(
                "round {}: {:<18} {seconds:.3} s",
                round + 1,
                tool.name()
            ));
            output(command("cmp").arg(&image).arg(&target.device))
                .with_context(|| format!("{} made a copy that differs", tool.name()))?;
            if round > 0 {
                runs.entry(tool.name().to_owned()).or_default().push(seconds);
            }
        }
    }
    drop(source);
    fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
    Row::of(case.name, case.goal, OURS, runs).context("a tool was never run")
}

fn show(row: &Row) {
    console::say(&format!("{:<18} {:.3} s (median)", OURS, row.ours));
    for (peer, seconds) in &row.peers {
        console::say(&format!("{peer:<18} {seconds:.3} s (median)"));
    }
    let goal = row
        .goal
        .map_or_else(|| "no goal".to_owned(), |goal| format!("goal {goal:.2}"));
    console::say(&format!("ratio to the best peer: {:.2} ({goal})", row.ratio));
}

/// Writes `data` MiB of random bytes, each followed by `stride - 1` MiB of hole. Returns the image's size in bytes.
fn build_image(path: &Path, data: u64, stride: u64) -> Result<u64> {
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
    fn choose(run: &Run, data: u64) -> Result<Self> {
        let needed = data * 5 / 2; // source and target, and something to spare
        if machine::available_memory() < needed {
            console::warn("not enough memory for the images: they lie on disk, which is measured as well");
            return Ok(Self { dir: run.temp_dir() });
        }
        let dir = run.dir().join("memory");
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
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
