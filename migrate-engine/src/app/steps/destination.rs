//! Step 4: the Proxmox VE host or the KVM host. Whether they let us in is not verified yet, and that is said.

use super::super::plain::plain;
use super::super::{Ending, human};
use crate::config::steps::{Change, Connection, KvmConnection, StepsError, StepsFile};
use crate::model::Secret;

/// A KVM host as it is asked for.
#[derive(Debug)]
pub struct Kvm {
    /// The host's name or address.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// The user's password; `None` where a key is used.
    pub password: Option<Secret>,
    /// The libvirt pool; where absent that of the file.
    pub storage_pool: Option<String>,
}

/// Writes the Proxmox VE host; what is there of a KVM host stays.
///
/// # Errors
/// Where the file cannot be changed; it is as it was then.
pub fn proxmox(file: &StepsFile, connection: Connection) -> anyhow::Result<Ending> {
    let what = format!("the Proxmox VE host {} as {}", connection.host, connection.user);
    write(file, &what, &Change::Proxmox(connection))
}

/// Writes the KVM host; what is there of a Proxmox VE host stays.
///
/// # Errors
/// Where the file cannot be changed; it is as it was then.
pub fn kvm(file: &StepsFile, asked: Kvm) -> anyhow::Result<Ending> {
    let storage_pool = match asked.storage_pool {
        Some(pool) => pool,
        None => pool_of(file)?,
    };
    let what = format!(
        "the KVM host {} as {} with {}, pool {storage_pool}",
        asked.host,
        asked.user,
        match asked.password {
            Some(_) => "a password",
            None => "a key",
        }
    );
    let connection = KvmConnection {
        host: asked.host,
        user: asked.user,
        password: asked.password,
        storage_pool,
    };
    write(file, &what, &Change::Kvm(connection))
}

fn pool_of(file: &StepsFile) -> Result<String, StepsError> {
    match file.read() {
        Ok(read) => Ok(read.steps.destination.kvm_storage_pool),
        Err(StepsError::Missing { .. }) => Ok("default".to_owned()),
        Err(error) => Err(error),
    }
}

fn write(file: &StepsFile, what: &str, change: &Change) -> anyhow::Result<Ending> {
    file.apply(change)?;
    human::tell(&plain(&format!("{}: {what}", file.path().display())))?;
    human::say(
        "NOT verified: this version cannot log in to Proxmox VE or KVM hosts yet, so host, user and password are written as given",
    );
    Ok(Ending::Completed)
}
