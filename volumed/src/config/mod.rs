//! The daemon's configuration: one tree of keys; file, then environment, then flags; every problem reported at once.
//!
//! A key is written `section.name`. In the file it is TOML, in the environment `VOLUMED_SECTION_NAME`, on the command
//! line a flag. `docs/volumed.toml` shows every key with its default, and a test holds it to that.

mod cloudstack;
mod http;
mod keys;
mod layers;
mod problem;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cloudstack::{CloudStack, VolumeIdentity};
pub use http::{Http, Tls};
pub use layers::{Layers, Origin};
pub use problem::{ConfigError, Problem};

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/volumed/volumed.toml";

/// Everything that can be chosen about a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The database; its directory must exist.
    pub database: PathBuf,
    /// The Unix socket to serve on; `None` only where `listen` is given.
    pub socket: Option<PathBuf>,
    /// The TCP address to serve on; other than loopback only where there is TLS.
    pub listen: Option<SocketAddr>,
    /// Who keeps the volumes.
    pub provider: Provider,
    /// The embedded provider.
    pub local: Local,
    /// The provider `cloudstack`, where that is who keeps the volumes.
    pub cloudstack: Option<CloudStack>,
    /// How devices are recognised.
    pub devices: Devices,
    /// What is logged and how.
    pub log: Log,
    /// How operations are run.
    pub operations: Operations,
    /// How long something must stand before it is called an orphan.
    pub reconcile: Reconcile,
    /// How HTTP is served.
    pub http: Http,
    /// How long running steps and requests may take to come to rest when the daemon is told to stop.
    pub shutdown_grace: Duration,
}

/// Who keeps the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Sparse files and loop devices of this machine.
    Local,
    /// Apache CloudStack.
    CloudStack,
}

/// The embedded provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The directory that holds the volumes' files.
    pub root: PathBuf,
    /// The id of the VM that this daemon runs in, as callers name it.
    pub vm_id: String,
}

/// How devices are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// Whether a loop device may stand in for a disk with a serial. Whoever can bind loop devices can then pass a file off
    /// as any volume: for tests and demonstrations.
    pub loop_serials: bool,
}

/// What is logged and how. Logs go to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: LogLevel,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How important a line of the log must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may go wrong.
    Warn,
    /// And what is done.
    Info,
    /// And how.
    Debug,
    /// And everything else.
    Trace,
}

impl LogLevel {
    /// The level as the log filter writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How operations are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations {
    /// How many run at once.
    pub concurrency: usize,
    /// How long an attach waits for its device.
    pub attach_timeout: Duration,
}

/// How long something must stand before it is called an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconcile {
    /// How long the cloud must have shown a volume that no record is of.
    pub orphan_grace: Duration,
    /// How long the cloud may be at work on a volume, or at getting rid of one.
    pub stuck_after: Duration,
    /// How often it is looked who uses the devices of volumes, at most.
    pub uses_every: Duration,
}

impl Config {
    /// Reads the file (`named`, else [`DEFAULT_FILE`] where that exists) and lays the environment and `flags` over it.
    ///
    /// # Errors
    /// Everything that is wrong with all three, at once.
    pub fn load(named: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, ConfigError> {
        let file = layers::read_file(named)?;
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v)));
        let environment = environment
            .map(|(k, v)| (k, v.to_string_lossy().into_owned()))
            .collect();
        Self::from_layers(&Layers {
            file,
            environment,
            flags,
        })
    }

    /// The configuration that these layers make together.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let (values, mut problems) = layers.merge();
        let config = keys::read(values, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems }),
        }
    }
}
