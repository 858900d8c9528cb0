//! `migrate-engine steps`: the four steps, each with its own section of one configuration.

mod destination;
mod platforms;
mod select;
mod source;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::app::{Ending, steps};
use crate::config::steps::StepsFile;

/// Set a migration up in four steps: platforms, source, machines, destination. See docs/four-steps.md.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    step: Step,
    /// The configuration; made by the first step where it is not there.
    #[arg(long, global = true, value_name = "PATH", default_value = "./config.json")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Show the configuration without its secrets, and what is still to do.
    Show,
    Platforms(platforms::Arguments),
    Source(Box<source::Arguments>),
    Select(select::Arguments),
    Destination(destination::Arguments),
    /// Examine a `config.json` of another program, and show it. Changes nothing: it can be used as it is.
    Import {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Arguments {
    /// Takes the step.
    ///
    /// # Errors
    /// What is wrong with the arguments or the configuration.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let config = StepsFile::at(&self.config)?;
        match self.step {
            Step::Show => steps::show(&config),
            Step::Import { file } => steps::import(&file),
            Step::Platforms(arguments) => steps::platforms(&config, arguments.platforms()),
            Step::Source(arguments) => steps::source(&config, &arguments.access()?).await,
            Step::Select(arguments) => arguments.run(&config).await,
            Step::Destination(arguments) => arguments.run(&config),
        }
    }
}
