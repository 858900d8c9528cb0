//! The project's own commands: `cargo xtask test`, `demo`, `bench`, `soak`, `docs`, `fuzz`, `audit`, `dist` and `install-deps`.

mod audit;
mod bench;
mod command;
mod console;
mod demo;
mod deps;
mod dist;
mod docs;
mod fuzz;
mod root;
mod run;
mod soak;
mod test;
mod wait;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::deps::Consent;

/// Commands of the volumed project; each says what it does and leaves nothing behind.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, then run every check and every test there is.
    Test(TestArgs),
    /// Migrate a disk image and an OVA on this machine, before your eyes.
    Demo(DemoArgs),
    /// Measure against the tools people use today.
    #[command(subcommand)]
    Bench(BenchTask),
    /// Run for long while everything goes wrong that can; nothing may be lost, wrong or left behind.
    #[command(args_conflicts_with_subcommands = true)]
    Soak(SoakTasks),
    /// Build the site of the documents, in target/site.
    Docs,
    /// Fuzz what parses foreign bytes, for a bounded time.
    Fuzz(fuzz::FuzzArgs),
    /// Look for known weaknesses in what we depend on; needs RustSec's database.
    Audit,
    /// Make Debian packages, with manual pages, bills of materials and checksums, in target/dist.
    Dist(dist::DistArgs),
    /// Install the system packages that building, testing and the demo need.
    InstallDeps(InstallArgs),
    /// Print what the machine has now of the things a run could leave behind.
    #[command(hide = true)]
    Snapshot { run_dir: PathBuf },
    /// Wait for the end of the run that holds standard input, then remove what it left.
    #[command(hide = true)]
    Sweep { run_dir: PathBuf },
}

#[derive(Args)]
struct InstallArgs {
    /// Install missing system packages without asking (so does CI=true).
    #[arg(long, short)]
    yes: bool,
}

impl InstallArgs {
    fn consent(&self) -> Consent {
        if self.yes || workspace::in_ci() {
            Consent::Given
        } else {
            Consent::Ask
        }
    }
}

#[derive(Args)]
struct TestArgs {
    #[command(flatten)]
    install: InstallArgs,
    /// Passed on to `cargo nextest run` (or `cargo test`): run only these tests, without the other checks.
    #[arg(last = true)]
    selection: Vec<String>,
}

#[derive(Args)]
struct DemoArgs {
    #[command(flatten)]
    install: InstallArgs,
    /// The binaries are built already.
    #[arg(long, hide = true)]
    built: bool,
}

#[derive(Subcommand)]
enum BenchTask {
    /// Our copy, `qemu-img convert` and `nbdcopy`: same image, same kind of target, interleaved.
    Copy(bench::CopyArgs),
    /// From the kernel's uevent to the committed mapping, beside a poll once a second for the same attaches.
    Attach(bench::AttachArgs),
    /// Latencies and memory with many volumes, long-polls, event streams and queued operations, beside few.
    Api(bench::ApiArgs),
    /// Start, recovery, memory and the reconciler's passes with many volumes and many operations in flight.
    Recovery(bench::RecoveryArgs),
}

#[derive(Args)]
struct SoakTasks {
    #[command(subcommand)]
    task: Option<SoakTask>,
    /// Without a task it is `crash`.
    #[command(flatten)]
    crash: soak::CrashArgs,
}

#[derive(Subcommand)]
enum SoakTask {
    /// Kill the daemon at every point that an operation passes, and have its database fail at every change.
    Crash(soak::CrashArgs),
    /// Attach, check, write and detach in lanes, on a cloud that misbehaves, with a daemon that is killed.
    Attach(soak::AttachArgs),
    /// Ask the daemon and the service all that their OpenAPI documents allow and forbid.
    Abuse(soak::AbuseArgs),
    /// Swap disks in the virtual appliance under clients that look for theirs.
    Swap(soak::SwapArgs),
    /// Power cuts of the virtual appliance under load: nothing that was acknowledged may be lost
    Power(soak::PowerArgs),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            console::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Test(args) => test::run(args.install.consent(), &args.selection),
        Task::Demo(args) => demo::run(args.install.consent(), args.built),
        Task::Bench(BenchTask::Copy(args)) => bench::copy(&args),
        Task::Bench(BenchTask::Attach(args)) => bench::attach(&args),
        Task::Bench(BenchTask::Api(args)) => bench::api(&args),
        Task::Bench(BenchTask::Recovery(args)) => bench::recovery(&args),
        Task::Soak(SoakTasks { task: None, crash }) => soak::crash(&crash),
        Task::Soak(SoakTasks { task: Some(task), .. }) => match task {
            SoakTask::Crash(args) => soak::crash(&args),
            SoakTask::Abuse(args) => soak::abuse(&args),
            SoakTask::Attach(args) => soak::attach(&args),
            SoakTask::Swap(args) => soak::swap(&args),
            SoakTask::Power(args) => soak::power(&args),
        },
        Task::Docs => docs::build(),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Audit => audit::audit(),
        Task::Dist(args) => dist::dist(&args),
        Task::InstallDeps(args) => {
            deps::ensure(args.consent())?;
            deps::python::ensure()?;
            deps::kernel::ensure(args.consent())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Snapshot { run_dir } => run::print_snapshot(&run_dir),
        Task::Sweep { run_dir } => run::sweep_after_end(&run_dir),
    }
}
