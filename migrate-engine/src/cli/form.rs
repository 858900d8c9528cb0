//! The argument that says how results are told.

use clap::Args;

use crate::app;

/// How results are told.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Form {
    pub(super) fn form(&self) -> app::Form {
        match self.json {
            true => app::Form::Json,
            false => app::Form::Text,
        }
    }
}
