//! `migrate-engine steps destination`.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, Subcommand};

use super::super::access::read_password;
use crate::app::{Ending, steps};
use crate::config::steps::{Connection, StepsFile};

/// Step 4: write down the destination. It is NOT verified: this version cannot log in there yet.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    platform: Platform,
}

#[derive(Debug, Subcommand)]
enum Platform {
    /// A Proxmox VE host. What is written of a KVM host stays.
    Proxmox {
        /// The host's name or address.
        #[arg(value_name = "HOST")]
        host: String,
        /// The user's name with its realm, such as `root@pam`.
        #[arg(long, short, value_name = "NAME")]
        username: String,
        /// The file with the password; `-` reads it from standard input.
        #[arg(long, value_name = "PATH")]
        password_file: PathBuf,
    },
    /// A host with KVM and libvirt. What is written of a Proxmox VE host stays.
    Kvm {
        /// The host's name or address.
        #[arg(value_name = "HOST")]
        host: String,
        /// The user's name.
        #[arg(long, short, value_name = "NAME")]
        username: String,
        /// The file with the password, `-` for standard input; not given where an SSH key is used.
        #[arg(long, value_name = "PATH")]
        password_file: Option<PathBuf>,
        /// The libvirt pool, by name or folder; where not given the one that is there, or `default`.
        #[arg(long, value_name = "POOL")]
        storage_pool: Option<String>,
    },
}

impl Arguments {
    pub(super) fn run(self, config: &StepsFile) -> anyhow::Result<Ending> {
        match self.platform {
            Platform::Proxmox {
                host,
                username,
                password_file,
            } => {
                filled_in(&host, &username)?;
                let connection = Connection {
                    host,
                    user: username,
                    password: read_password(&password_file)?,
                };
                steps::proxmox(config, connection)
            }
            Platform::Kvm {
                host,
                username,
                password_file,
                storage_pool,
            } => {
                filled_in(&host, &username)?;
                let kvm = steps::Kvm {
                    host,
                    user: username,
                    password: password_file.as_deref().map(read_password).transpose()?,
                    storage_pool,
                };
                steps::kvm(config, kvm)
            }
        }
    }
}

/// What is empty in the file counts as not filled in.
fn filled_in(host: &str, user: &str) -> anyhow::Result<()> {
    ensure!(
        !host.trim().is_empty() && !user.trim().is_empty(),
        "the host or the user is empty: name both"
    );
    Ok(())
}
