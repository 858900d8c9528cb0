//! The arguments that say who we are at a source, and whom to believe to be it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::app::Access;
use crate::config::Believe;
use crate::model::Secret;

/// Who we are at a source.
#[derive(Debug, Args)]
pub(super) struct AccessArguments {
    /// The vCenter, or an ESXi host: `HOST`, `HOST:PORT` or `https://HOST/sdk`.
    #[arg(value_name = "HOST")]
    host: String,
    /// Who we are there.
    #[arg(long, short, env = "VSPHERE_USER", value_name = "NAME")]
    username: String,
    /// The file with the password; `-` reads it from standard input.
    #[arg(long, env = "VSPHERE_PASSWORD_FILE", value_name = "PATH")]
    password_file: PathBuf,
    #[command(flatten)]
    trust: Trust,
}

/// Whom to believe to be a source; without any of it, whoever an authority of the system vouches for.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// Believe whoever an authority of this PEM file vouches for.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["fingerprint", "insecure"])]
    ca_file: Option<PathBuf>,
    /// Believe whoever has the certificate of this SHA-256 fingerprint.
    #[arg(long, value_name = "AB:CD:…", conflicts_with = "insecure")]
    fingerprint: Option<String>,
    /// Believe anybody. Whoever is in between then reads what lets us in.
    #[arg(long)]
    insecure: bool,
}

impl AccessArguments {
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        let password = read_password(&self.password_file)?;
        let (host, username) = (self.host.clone(), self.username.clone());
        Ok(Access::as_usual(host, username, password, self.trust.believe()))
    }
}

impl Trust {
    pub(super) fn believe(&self) -> Believe {
        match (&self.ca_file, &self.fingerprint) {
            (Some(path), _) => Believe::CaFile(path.clone()),
            (_, Some(print)) => Believe::Fingerprint(print.clone()),
            _ if self.insecure => Believe::Anybody,
            _ => Believe::SystemRoots,
        }
    }
}

/// Reads a password from a file, or from standard input where that is `-`. The end of its line is no part of it.
pub(super) fn read_password(path: &Path) -> anyhow::Result<Secret> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the password from standard input")?;
        text
    } else {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password in {}", path.display()))?
    };
    let password = text.strip_suffix('\n').unwrap_or(&text);
    ensure!(
        !password.is_empty(),
        "the password in {} is empty",
        path.display()
    );
    Ok(Secret::new(password))
}
