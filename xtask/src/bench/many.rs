//! What is more than one copy: an update of a disk in which little has changed, and several disks at once.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::cases::Serving;
use super::copy::build_image;
use super::report::{Row, Runs};
use super::source::Source;
use super::tools::{Layout, OURS, Sample, Target};
use crate::command::output;
use crate::console;
use crate::run::Run;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// How much has changed.
const CHANGED_MIB: u64 = 64;
/// How many disks at once.
const DISKS: u64 = 4;

/// The keys of what is measured here.
pub(super) const KEYS: [&str; 3] = ["update", "update-flat", "disks"];

/// What a measurement works with.
pub(super) struct Plan<'a> {
    pub(super) run: &'a Run,
    pub(super) engine: &'a Path,
    pub(super) dir: &'a Path,
    /// Bytes of data of a copy.
    pub(super) data: u64,
    pub(super) rounds: u32,
}

impl Plan<'_> {
    pub(super) fn measure(&self, key: &str) -> Result<Row> {
        match key {
            "update" => self.update(
                "64 MiB changed of 64 GiB, against a copy of 64 MiB",
                0.5,
                &format!("a copy of {CHANGED_MIB} MiB"),
                |plan| plan.copy_of_changed(),
            ),
            "update-flat" => self.update(
                "64 MiB changed of 64 GiB, against 64 MiB changed of 1 GiB",
                0.8,
                "the same of 1 GiB",
                |plan| plan.updated(GIB),
            ),
            _ => self.disks(),
        }
    }

    /// Our update of a disk of 64 GiB against something else, in turn.
    fn update(&self, name: &str, goal: f64, peer: &str, other: impl Fn(&Self) -> Result<f64>) -> Result<Row> {
        console::step(&format!("{name}: {} rounds", self.rounds));
        let mut runs = Runs::new();
        for round in 0..=self.rounds {
            for (tool, seconds) in [(OURS, self.updated(64 * GIB)?), (peer, other(self)?)] {
                console::say(&format!("round {round}: {tool:<31} {seconds:.3} s"));
                note(&mut runs, round, tool, seconds);
            }
        }
        Row::of(name, goal, OURS, runs).context("a tool was never run")
    }

    /// How long an update takes of a disk of this size, of which the 64 MiB that changed are all that is not zero.
    fn updated(&self, size: u64) -> Result<f64> {
        let image = self.dir.join("update.raw");
        let stride = size / MIB / CHANGED_MIB;
        let made = build_image(&image, CHANGED_MIB, stride)?;
        anyhow::ensure!(made == size, "an image of {made} bytes");
        self.timed_by_the_engine(&image, size, &["--update-mib", &CHANGED_MIB.to_string()])
    }

    fn copy_of_changed(&self) -> Result<f64> {
        let image = self.dir.join("update.raw");
        let size = build_image(&image, CHANGED_MIB, 1)?;
        self.timed_by_the_engine(&image, size, &[])
    }

    /// What the engine itself says of its time, without the start of its process: the copy before an update is none of it.
    fn timed_by_the_engine(&self, image: &Path, size: u64, more: &[&str]) -> Result<f64> {
        let source = Source::serve(self.run, Serving::Nbdkit(&[], &[]), image)?;
        let layout = Layout {
            count: CHANGED_MIB,
            stride: size / MIB / CHANGED_MIB,
        };
        let target = Target::make(self.dir, "target.raw", size, layout)?;
        let mut engine = self.run.command(self.engine);
        engine
            .arg("bench-copy")
            .arg(source.uri())
            .arg(&target.device)
            .args(more);
        let told: serde_json::Value = serde_json::from_str(&output(&mut engine)?)?;
        drop(source);
        fs::remove_file(image).with_context(|| format!("cannot remove {}", image.display()))?;
        told["seconds"].as_f64().context("the engine told no time")
    }

    /// Four disks at once, by four engines, against one disk of as many bytes.
    fn disks(&self) -> Result<Row> {
        let name = format!("{DISKS} disks at once, against one of as many bytes");
        console::step(&format!("{name}: {} rounds", self.rounds));
        let each = self.data / DISKS / MIB;
        let images: Vec<_> = (0..DISKS)
            .map(|n| self.dir.join(format!("disk-{n}.raw")))
            .collect();
        for image in &images {
            build_image(image, each, 1)?;
        }
        let whole = self.dir.join("whole.raw");
        let mut all = File::create(&whole).context("cannot make an image")?;
        for image in &images {
            std::io::copy(&mut File::open(image)?, &mut all).context("cannot write an image")?;
        }
        let mut runs = Runs::new();
        for round in 0..=self.rounds {
            let at_once = self.copied_at_once(&images, each * MIB)?;
            let one = self.copied_at_once(std::slice::from_ref(&whole), each * MIB * DISKS)?;
            for (tool, seconds) in [(OURS, at_once), ("one disk", one)] {
                console::say(&format!("round {round}: {tool:<31} {seconds:.3} s"));
                note(&mut runs, round, tool, seconds);
            }
        }
        Row::of(&name, 0.95, OURS, runs).context("a tool was never run")
    }

    fn copied_at_once(&self, images: &[std::path::PathBuf], size: u64) -> Result<f64> {
        let mut copies = Vec::new();
        for (n, image) in images.iter().enumerate() {
            let folder = self.run.dir().join(format!("s{n}"));
            fs::create_dir_all(&folder)?;
            let source = Source::serve_in(self.run, &folder, Serving::Nbdkit(&[], &[]), image)?;
            let layout = Layout {
                count: size / MIB,
                stride: 1,
            };
            let target = Target::make(self.dir, &format!("target-{n}.raw"), size, layout)?;
            let mut engine = self.run.command(self.engine);
            engine.arg("bench-copy").arg(source.uri()).arg(&target.device);
            copies.push((source, target, engine));
        }
        let start = Instant::now();
        thread::scope(|scope| {
            let running: Vec<_> = copies
                .iter_mut()
                .map(|(_, _, engine)| scope.spawn(|| output(engine)))
                .collect();
            running
                .into_iter()
                .try_for_each(|copy| copy.join().map_err(|_| anyhow!("a thread died"))?.map(drop))
        })?;
        Ok(start.elapsed().as_secs_f64())
    }
}

fn note(runs: &mut Runs, round: u32, tool: &str, seconds: f64) {
    if round > 0 {
        let sample = Sample {
            seconds,
            ..Sample::default()
        };
        runs.entry(tool.to_owned()).or_default().push(sample);
    }
}
