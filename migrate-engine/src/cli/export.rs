//! `migrate-engine export`: what may be asked, and the settings that it means.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::daemon::Daemon;
use super::server::Server;
use crate::app::{self, Ending, Form};
use crate::block::Cancel;
use crate::config::{Afterwards, PublishSettings, Unattached};
use crate::pipeline::{Publisher, clean_up_after};
use crate::store::{Run, Store};

/// Publish volumes over NBD, for transfers from outside, until SIGINT or SIGTERM.
///
/// Each volume's device is leased, opened and proven to be the volume's, and that very descriptor is served as
/// `migration-vol-{volume_id}`. A line for each says where it is. All are published, or none. An export whose lease is lost
/// ends at once.
///
/// Exit status: 0 ended by a signal and everything given back, 1 failed or an export ended early, 2 wrong usage, 130 stopped
/// before it was published.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The volumes, by id or name.
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
    /// Attach volumes that are not attached.
    #[arg(long)]
    attach: bool,
    /// Detach the volumes at the end, whoever attached them.
    #[arg(long)]
    detach: bool,
    /// Print each export as a line of JSON: uri, export, `volume_id`, `size_bytes`, `device_path`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    server: Server,
    /// The engine's own records.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/migrate-engine/migrate-engine.db"
    )]
    database: PathBuf,
}

impl Arguments {
    /// Publishes, and stays.
    ///
    /// # Errors
    /// What could not even be begun.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let cancel = Cancel::new();
        app::stop_on_signals(&cancel, "stopping: exports are withdrawn")?;
        let settings = self.settings();
        let client = self.daemon.client()?;
        let store = Store::open(&self.database)?;
        let runtime_dir = self.server.runtime_dir();
        // Nothing large is kept by an export: its folder for that may be beside the other one.
        let (run, dead) = Run::begin(runtime_dir, runtime_dir)?;
        clean_up_after(dead, &store, &settings.export).await;
        let publisher = Publisher {
            client,
            store: Arc::new(store),
            run,
            settings,
            cancel,
        };
        let form = if self.json { Form::Json } else { Form::Text };
        Ok(app::publish(&publisher, &self.volumes, form).await)
    }

    fn settings(&self) -> PublishSettings {
        PublishSettings {
            export: self.server.settings(),
            unattached: match self.attach {
                true => Unattached::Attach,
                false => Unattached::Refuse,
            },
            afterwards: match self.detach {
                true => Afterwards::Detach,
                false => Afterwards::StayAttached,
            },
            operation_timeout: self.daemon.operation_timeout(),
        }
    }
}
