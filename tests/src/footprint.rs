//! What a process takes from the machine, as the kernel tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

const KIB_IN_MIB: f64 = 1024.0;

/// What a process has at one moment. Memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Footprint {
    /// Resident memory.
    pub rss_mib: f64,
    /// Resident memory, what is shared counted by its share.
    pub pss_mib: f64,
    /// The most resident memory that it had so far.
    pub peak_mib: f64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: f64,
    /// Processor time so far, in seconds.
    pub cpu_s: f64,
}

impl Footprint {
    /// Looks at the process.
    ///
    /// # Errors
    /// Where it is not there, or the kernel says nothing of it.
    pub fn of(pid: u32) -> Result<Self> {
        let place = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{place}/status"))?;
        let shares = fs::read_to_string(format!("{place}/smaps_rollup"))?;
        Ok(Self {
            rss_mib: number(&status, "VmRSS:")? / KIB_IN_MIB,
            pss_mib: number(&shares, "Pss:")? / KIB_IN_MIB,
            peak_mib: number(&status, "VmHWM:")? / KIB_IN_MIB,
            descriptors: fs::read_dir(format!("{place}/fd"))?.count(),
            threads: number(&status, "Threads:")?,
            cpu_s: cpu(&fs::read_to_string(format!("{place}/stat"))?)?.as_secs_f64(),
        })
    }
}

/// The number that the line with this name begins with.
fn number(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    let word = word.with_context(|| format!("the kernel does not tell `{name}`"))?;
    Ok(word.parse()?)
}

/// Processor time in user and kernel mode, from `/proc/PID/stat` (proc(5)), which counts in hundredths of a second.
fn cpu(stat: &str) -> Result<Duration> {
    // The program's name may hold anything, but ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').context("stat has a name in brackets")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("stat has times")?;
    Ok(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_ourselves() {
        let ours = Footprint::of(std::process::id()).unwrap();
        assert!(ours.rss_mib > 1.0 && ours.peak_mib >= ours.rss_mib, "{ours:?}");
        assert!(ours.descriptors >= 3 && ours.threads >= 1.0, "{ours:?}");
    }

    #[test]
    fn the_name_of_a_program_does_not_disturb() {
        let stat = "1 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(3));
    }
}
