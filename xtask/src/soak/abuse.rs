//! `cargo xtask soak abuse`: schemathesis against the real daemon and the real service, for as long as is wanted.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Profile, Soak, soak};
use crate::deps::python;

#[derive(Args)]
pub(crate) struct AbuseArgs {
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long in all, divided equally among the three sites.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and asks as root; a failure where any answer was not as the documents say, or anything is left behind.
pub(crate) fn abuse(args: &AbuseArgs) -> Result<ExitCode> {
    python::ensure()?;
    soak(&Soak {
        name: "abuse",
        program: "abuse",
        what: format!("{} minutes of abuse, seed {}", args.minutes, args.seed),
        plan: vec![("--seed", args.seed), ("--minutes", args.minutes)],
        built: args.built,
        profile: Profile::Debug,
    })
}
