//! What people read: the report, errors with cause and hint.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program talks to people"
)]

use crate::model::{CopyReport, DiskReport, Outcome, Size};

/// One line to standard error.
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

/// Results, to standard output.
///
/// # Errors
/// Where they cannot be written: whoever reads them may be gone.
pub(super) fn tell(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))?;
    out.flush()
}

/// A question, to standard error; the answer is written behind it.
pub(super) fn ask(text: &str) {
    eprint!("{text}");
}

/// The report, to standard output.
pub(super) fn print_report(report: &CopyReport) {
    for disk in &report.disks {
        println!("{}", disk_lines(disk));
    }
    let seconds = report.finished_at.duration_since(report.started_at).as_secs_f64();
    let outcome = match report.outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "FAILED",
        Outcome::Cancelled => "stopped",
    };
    for disk in &report.not_copied {
        println!("disk `{disk}`: not copied");
    }
    let all = report.disks.len() + report.not_copied.len();
    // A source that could not be opened has no machine to speak of.
    if all > 0 {
        println!(
            "machine `{}`: {} of {all} disks copied, {outcome} after {seconds:.1} s",
            report.machine,
            report.disks.len()
        );
    }
}

fn disk_lines(disk: &DiskReport) -> String {
    let verified = match (&disk.digest.target, disk.verify_seconds) {
        (Some(_), Some(seconds)) => format!("read back in {seconds:.1} s, equal"),
        (None, Some(seconds)) => format!(
            "a SAMPLE of {} read back in {seconds:.1} s, equal",
            Size(disk.bytes_verified)
        ),
        _ => "NOT verified (--no-verify)".to_owned(),
    };
    let resumed = match disk.bytes_resumed {
        0 => String::new(),
        bytes => format!(" {} were there from an interrupted copy,", Size(bytes)),
    };
    format!(
        "disk `{}` ({}) -> volume {} `{}` ({}, {})\n  device    {}, {}\n  moved    {resumed} {} read, {} written, {} zeroes \
         skipped, in {:.1} s\n  verified  {verified}\n  digest    {}",
        disk.disk_id,
        Size(disk.capacity_bytes),
        disk.volume_id,
        disk.volume_name,
        Size(disk.volume_bytes),
        if disk.reused { "reused" } else { "new" },
        disk.device_path,
        if disk.attached {
            "still attached"
        } else {
            "detached"
        },
        Size(disk.bytes_read),
        Size(disk.bytes_written),
        Size(disk.bytes_skipped),
        disk.copy_seconds,
        disk.digest.source,
    )
}

/// An error with what caused it and what to do, to standard error.
pub(super) fn print_error(error: &(dyn std::error::Error + 'static), hint: Option<&str>) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("cause: {error}");
        cause = error.source();
    }
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
