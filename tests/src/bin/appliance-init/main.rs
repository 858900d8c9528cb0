//! Process 1 of the virtual appliance: prepares the guest, runs the agent, buries orphans, and ends the guest.
//!
//! The agent is a process of its own, so that process 1 may wait for any child without taking the agent's.

#![allow(
    clippy::print_stderr,
    reason = "standard error is the console, and the host reads it"
)]

mod agent;
mod boot;

use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::system::{RebootCommand, reboot};
use whole_system_tests::virtual_machine::protocol::Ending;

/// How long programs may take to end when the guest ends.
const GRACE: Duration = Duration::from_secs(10);

/// What the agent exits with when it was told to end the guest.
const REBOOT: u8 = 10;
const POWER_OFF: u8 = 11;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        return match agent::serve() {
            Ok(Ending::Reboot) => ExitCode::from(REBOOT),
            Ok(Ending::PowerOff) => ExitCode::from(POWER_OFF),
            Err(error) => {
                eprintln!("appliance-init: failed: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let ending = live().unwrap_or_else(|error| {
        // The host looks for this very beginning.
        eprintln!("appliance-init: failed: {error:#}");
        Ending::PowerOff
    });
    end(ending);
    ExitCode::FAILURE
}

fn live() -> Result<Ending> {
    boot::prepare()?;
    let agent = Command::new("/proc/self/exe")
        .spawn()
        .context("cannot start the agent")?;
    let agent = Pid::from_child(&agent);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == agent => return wish(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => bail!("cannot wait for children: {error}"),
        }
    }
}

fn wish(status: WaitStatus) -> Result<Ending> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    match code {
        Some(REBOOT) => Ok(Ending::Reboot),
        Some(POWER_OFF) => Ok(Ending::PowerOff),
        _ => bail!("the agent ended: {status:?}"),
    }
}

/// Ends all programs, then the guest.
fn end(how: Ending) {
    let (none_left, all_ended) = mpsc::channel();
    std::thread::spawn(move || {
        while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
        none_left.send(())
    });
    for signal in [Signal::TERM, Signal::KILL] {
        signal_all(signal);
        if all_ended.recv_timeout(GRACE).is_ok() {
            break;
        }
    }
    rustix::fs::sync();
    if let Err(error) = unmount(boot::STATE, UnmountFlags::empty()) {
        eprintln!("appliance-init: {} stays mounted: {error}", boot::STATE);
    }
    let command = match how {
        Ending::Reboot => RebootCommand::Restart,
        Ending::PowerOff => RebootCommand::PowerOff,
    };
    if let Err(error) = reboot(command) {
        eprintln!("appliance-init: failed: cannot end the guest: {error}");
    }
}

fn signal_all(signal: Signal) {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in ids.filter_map(Pid::from_raw).filter(|pid| *pid != Pid::INIT) {
        // One that is gone by now is as good; threads of the kernel take no signals.
        let _ = kill_process(pid, signal);
    }
}
