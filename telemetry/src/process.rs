//! The process in numbers, by the names that every Prometheus client gives them.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Memory, processor time, descriptors and age of this process, read anew each time. What cannot be read is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = Seen::now();
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", seen.resident),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                seen.virtual_bytes,
            ),
            ("process_open_fds", "Open file descriptors", seen.open_fds),
            ("process_max_fds", "How many may be open", seen.max_fds),
            ("process_threads", "Threads", seen.threads),
            (
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
                seen.started,
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        if let Some(cpu) = seen.cpu {
            let help = "Processor time";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(cpu.as_secs_f64()).encode(metric)?;
        }
        Ok(())
    }
}

/// In what the kernel tells processor time to programs, on every machine that we run on. Source: `include/asm-generic/param.h`.
const USER_HZ: f64 = 100.0;

/// One look at the process.
#[derive(Debug, Default)]
struct Seen {
    resident: Option<f64>,
    virtual_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    threads: Option<f64>,
    started: Option<f64>,
    cpu: Option<Duration>,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus has floats; 53 bits are enough for all of these"
)]
fn float(number: u64) -> f64 {
    number as f64
}

impl Seen {
    fn now() -> Self {
        let mut seen = Self {
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| float(entries.count() as u64)),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(float),
            ..Self::default()
        };
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<u64> = numbers(&stat);
        // proc_pid_stat(5); the numbers begin with field 4, after the name and the state.
        let field = |number: usize| fields.get(number - 4).copied();
        seen.threads = field(20).map(float);
        seen.virtual_bytes = field(23).map(float);
        seen.resident = resident().map(float);
        let cpu = field(14).zip(field(15)).map(|(user, system)| user + system);
        seen.cpu = cpu.map(|spent| Duration::from_secs_f64(float(spent) / USER_HZ));
        let after_boot = field(22).map(|since_boot| float(since_boot) / USER_HZ);
        seen.started = after_boot
            .zip(boot_time())
            .map(|(after, boot)| after + float(boot));
        seen
    }
}

/// The numbers of `/proc/self/stat` after the name of the program, which may hold anything, and the state. Negative ones are 0.
fn numbers(stat: &str) -> Vec<u64> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let words = after_name.split_whitespace().skip(1);
    words.map(|word| word.parse().unwrap_or_default()).collect()
}

/// Resident memory in bytes. Source: proc_pid_status(5).
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// When the machine was booted, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn this_process_has_memory_descriptors_and_an_age() {
        let seen = Seen::now();
        assert!(seen.resident.unwrap() > 100_000.0, "{seen:?}");
        assert!(seen.virtual_bytes >= seen.resident, "{seen:?}");
        assert!(
            seen.open_fds.unwrap() >= 3.0 && seen.threads.unwrap() >= 1.0,
            "{seen:?}"
        );
        // After 2020, and not in the future.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!(
            seen.started.unwrap() > 1.6e9 && seen.started.unwrap() < now + 2.0,
            "{seen:?}"
        );
    }

    #[test]
    fn they_have_the_usual_names_whatever_else_a_program_counts() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }

    #[test]
    fn a_programs_name_may_hold_anything() {
        assert_eq!(numbers("7 (a ) 9 (b) R 1 -2 3"), [1, 0, 3]);
    }
}
