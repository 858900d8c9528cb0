//! `fake-cloudstack`: the CloudStack of the tests, started by hand; prints where it is and its keys, and ends at a signal.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people start to see what it says"
)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use whole_system_tests::cloudstack::{CloudStackServer, ElsewhereHypervisor, Setup};
use whole_system_tests::{Hypervisor, LoopHypervisor, Unplug};

const USAGE: &str = "\
usage: fake-cloudstack [--listen ADDRESS:PORT] [--vm UUID] [--hypervisor elsewhere|loop|lazy-loop] [--storage DIRECTORY]

  elsewhere   disks are plugged in where nobody sees them (needs no root)
  loop        disks are loop devices of this machine with their serial as name; a detach waits for the last opener
  lazy-loop   the same, and a detach does not wait: for a daemon that keeps devices open until the cloud let go";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-cloudstack: {error:#}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let server = CloudStackServer::start(setup(std::env::args().skip(1))?).await;
    println!("CLOUDSTACK_ENDPOINT={}", server.url());
    println!("CLOUDSTACK_KEY={}", server.api_key());
    println!("CLOUDSTACK_SECRET={}", server.secret_key());
    let admin = server.credentials("admin");
    println!("ADMIN_KEY={}\nADMIN_SECRET={}", admin.api_key, admin.secret_key);
    println!(
        "ZONE={}\nDISK_OFFERING={}\nVM={}",
        server.zone_id(),
        server.offering_id(),
        server.vm_id()
    );
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for SIGINT")?,
    }
    for violation in server.violations() {
        eprintln!("the client broke a rule: {violation:?}");
    }
    Ok(())
}

fn setup(mut args: impl Iterator<Item = String>) -> anyhow::Result<Setup> {
    let mut setup = Setup::on(Arc::new(ElsewhereHypervisor::default()));
    while let Some(option) = args.next() {
        let value = args.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--listen" => setup.address = value.parse::<SocketAddr>().context("reading the address")?,
            "--vm" => setup.vm = Some(value.parse().context("reading the UUID of the VM")?),
            "--hypervisor" => setup.hypervisor = hypervisor(&value)?,
            "--storage" => setup.storage = Some(value.into()),
            _ => bail!("there is no option {option}"),
        }
    }
    Ok(setup)
}

fn hypervisor(name: &str) -> anyhow::Result<Arc<dyn Hypervisor>> {
    Ok(match name {
        "elsewhere" => Arc::new(ElsewhereHypervisor::default()),
        "loop" => Arc::new(LoopHypervisor::new(Unplug::Awaited)),
        "lazy-loop" => Arc::new(LoopHypervisor::new(Unplug::Lazy)),
        _ => bail!("there is no hypervisor {name}"),
    })
}
