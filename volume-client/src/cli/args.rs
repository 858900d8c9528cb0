//! The command line: verbs, options, and what `--help` says about them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as WordError};

use super::bundle::Wanted;
use super::confirm::Consent;
use super::help::AFTER_HELP;
use super::measure::{parse_duration, parse_size};
use super::orphans::OrphansVerb;
use super::output::Format;
use super::tokens::TokensVerb;
use crate::client::IdempotencyKey;
use crate::types::{LeaseId, OperationId, OperationKind, OperationStatus, VolumeState};

/// Volumes of the cloud and the devices that they are here, by way of volumed.
#[derive(Debug, Parser)]
#[command(name = "volumectl", version, after_long_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Global {
    /// The daemon's Unix socket
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "url")]
    pub(super) socket: Option<PathBuf>,
    /// The daemon's address, https://HOST:PORT, or http://127.0.0.1:PORT on this machine
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The file with the token for --url
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) token_file: Option<PathBuf>,
    /// Believe whoever an authority of this PEM file vouches for to be the daemon; without it, an authority of the system
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "fingerprint")]
    pub(super) ca_file: Option<PathBuf>,
    /// Believe whoever has the certificate of this SHA-256 fingerprint to be the daemon
    #[arg(long, global = true, value_name = "AB:CD:…")]
    pub(super) fingerprint: Option<String>,
    /// Show the daemon this certificate (PEM); goes with --key
    #[arg(long, global = true, value_name = "PATH", requires = "key")]
    pub(super) certificate: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, global = true, value_name = "PATH", requires = "certificate")]
    pub(super) key: Option<PathBuf>,
    /// Print the API's own JSON
    #[arg(long, global = true)]
    json: bool,
    /// How long to wait for an operation: 90, 90s, 2m, 1h
    #[arg(long, global = true, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    pub(super) timeout: Duration,
    /// The key of this change; repeating it under the same key does not do it twice
    #[arg(long, global = true, value_name = "KEY")]
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

impl Global {
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Table }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Volumes: list them (the default), show, create, resize, delete
    #[command(visible_alias = "volume")]
    Volumes {
        #[command(subcommand)]
        verb: Option<VolumesVerb>,
    },
    /// Attach a volume and find its device
    Attach {
        /// The volume's id or name
        volume: String,
        /// The VM; this daemon's own where it is not given
        #[arg(long, value_name = "ID")]
        vm: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Detach a volume
    Detach {
        /// The volume's id or name
        volume: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show a volume's device, verified against the kernel now
    Device {
        /// The volume's id or name
        volume: String,
    },
    /// Find the device of an attached volume anew
    Correlate {
        /// The volume's id or name
        volume: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Snapshots of a volume
    #[command(visible_alias = "snapshot")]
    Snapshots {
        #[command(subcommand)]
        verb: SnapshotsVerb,
    },
    /// Operations: list them (the default), show, watch, cancel
    #[command(visible_alias = "operation")]
    Operations {
        #[command(subcommand)]
        verb: Option<OperationsVerb>,
    },
    /// The block devices of this machine
    Devices {
        #[command(subcommand)]
        verb: Option<ListVerb>,
    },
    /// Which volume is which device
    Mappings {
        #[command(subcommand)]
        verb: Option<ListVerb>,
    },
    /// Who uses the volumes' devices: list (the default), release
    #[command(visible_alias = "lease")]
    Leases {
        #[command(subcommand)]
        verb: Option<LeasesVerb>,
    },
    /// Who may ask over TCP, and for what: list (the default), create, rotate, revoke
    #[command(visible_alias = "token")]
    Tokens {
        #[command(subcommand)]
        verb: Option<TokensVerb>,
    },
    /// Where the cloud, the kernel and the records do not agree
    Findings {
        #[command(subcommand)]
        verb: Option<ListVerb>,
    },
    /// What does not agree, and what to do: list (the default), show, repair, adopt, ignore, heed
    #[command(visible_alias = "orphan")]
    Orphans {
        #[command(subcommand)]
        verb: Option<OrphansVerb>,
    },
    /// Compare cloud, kernel and records now, and mend what is surely safe, as the daemon does by itself
    Reconcile {
        /// Only look: say what would be mended, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what record, cloud and kernel say of a volume, and what comes next
    Explain {
        /// The volume's id or name
        volume: String,
    },
    /// Who did what and why, newest first
    Audit {
        /// Only on this volume (id or name)
        #[arg(long)]
        volume: Option<String>,
        /// How many lines at most
        #[arg(long, value_name = "NUMBER", default_value = "50")]
        last: usize,
    },
    /// Print what happens, as it happens
    Events {
        /// Begin after this event
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// How the daemon is; fails with 5 when it is not ready
    Status,
    /// Examine the daemon, its cloud, the devices and this machine, and say what to fix; fails only where something will
    /// not work, and runs `volumed doctor` where no daemon answers
    Doctor,
    /// Collect everything that helps others to see what is the matter here, without secrets, in one file; works without a
    /// daemon too
    SupportBundle(Wanted),
    /// Copy the daemon's database into a file while the daemon works; `volumed restore` puts it back
    Backup {
        /// The file; one that is there already stays
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace a file that is there already
        #[arg(long)]
        force: bool,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each verb
    Man {
        /// The directory to write to
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum VolumesVerb {
    /// List volumes
    List {
        /// Only in this state
        #[arg(long, value_parser = word::<VolumeState>)]
        state: Option<VolumeState>,
        /// Only of this source VM
        #[arg(long, value_name = "VM")]
        source_vm: Option<String>,
        /// Only of this source disk
        #[arg(long, value_name = "DISK")]
        source_disk: Option<String>,
        /// Only of this name
        #[arg(long)]
        name: Option<String>,
    },
    /// Show one volume
    Show {
        /// Its id or name
        volume: String,
    },
    /// Create a volume
    Create {
        /// Its name
        name: String,
        /// Its size: 10GiB, 5GB, or bytes
        #[arg(long, value_parser = parse_size)]
        size: u64,
        /// The VM whose disk it is for
        #[arg(long, value_name = "VM", requires = "source_disk")]
        source_vm: Option<String>,
        /// The disk that it is for
        #[arg(long, value_name = "DISK", requires = "source_vm")]
        source_disk: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Make a volume larger
    Resize {
        /// Its id or name
        volume: String,
        /// The new size: 10GiB, 5GB, or bytes
        #[arg(long, value_parser = parse_size)]
        size: u64,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a volume and what is on it
    Delete {
        /// Its id or name
        volume: String,
        /// Its name, as confirmation; needed for one that was ever handed out
        #[arg(long, value_name = "NAME")]
        confirm_name: Option<String>,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotsVerb {
    /// List a volume's snapshots
    List {
        /// The volume's id or name
        volume: String,
    },
    /// Take a snapshot
    Create {
        /// The volume's id or name
        volume: String,
        /// The snapshot's name
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Put a volume back to a snapshot; what was written since is lost
    Revert {
        /// The volume's id or name
        volume: String,
        /// The snapshot's id or name
        snapshot: String,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a snapshot
    Delete {
        /// The volume's id or name
        volume: String,
        /// The snapshot's id or name
        snapshot: String,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OperationsVerb {
    /// List operations
    List {
        /// Only in this status
        #[arg(long, value_parser = word::<OperationStatus>)]
        status: Option<OperationStatus>,
        /// Only on this volume (id or name)
        #[arg(long)]
        volume: Option<String>,
        /// Only of this type
        #[arg(long = "type", value_name = "TYPE", value_parser = word::<OperationKind>)]
        kind: Option<OperationKind>,
        /// Go on: print each operation that changes, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Show one operation with its steps
    Show {
        /// Its id
        operation: OperationId,
    },
    /// Follow one operation to its end
    Watch {
        /// Its id
        operation: OperationId,
    },
    /// Withdraw an operation
    Cancel {
        /// Its id
        operation: OperationId,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum LeasesVerb {
    /// List leases
    List,
    /// Release a lease that its holder will not release
    Release {
        /// Its id
        lease: LeaseId,
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ListVerb {
    /// List them
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ClapArgs)]
pub(super) struct Wait {
    /// Print the operation's id at once instead of waiting for its end
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(super) struct Yes {
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Yes {
    pub(super) fn consent(self) -> Consent {
        if self.yes { Consent::Given } else { Consent::Asked }
    }
}

/// A word of the API, as the API writes it.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, WordError> {
    T::deserialize(text.into_deserializer())
}
