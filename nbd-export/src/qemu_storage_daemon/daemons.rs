//! The daemons of one runtime directory: one that is shared, and one more for each export that has an allow-list.
//!
//! qemu asks its list before the client names an export, so a list of one export needs a process, and a port, of its own
//! (`docs/adr/0021-allow-lists.md`). Own daemons have numbers; a number is free where no process of it lives.

use std::fs;

use super::{QemuStorageDaemonConfig, daemon::Daemon, exports, qmp::Qmp};
use crate::{AllowList, ExportError, ExportName, NbdAddress, runtime::RuntimeDir};

/// The export that an own daemon is for, written before it is started.
pub(super) const OWNER: &str = "owner";
/// With Unix sockets there is no range of ports that bounds them.
const MOST: u16 = 64;

#[derive(Debug)]
pub(super) struct Daemons {
    pub(super) shared: Daemon,
    config: QemuStorageDaemonConfig,
}

impl Daemons {
    pub(super) fn new(config: QemuStorageDaemonConfig) -> Result<Self, ExportError> {
        let shared = Daemon::new(config.clone())?;
        if let NbdAddress::Tcp(address) = &config.listen
            && config.own_ports.contains(&address.port())
        {
            let problem = format!(
                "port {} is among those of exports with an allow-list",
                address.port()
            );
            return Err(ExportError::Config { problem });
        }
        Ok(Self { shared, config })
    }

    /// The own daemons that live.
    pub(super) fn own(&self) -> Result<Vec<(ExportName, Daemon)>, ExportError> {
        let mut alive = Vec::new();
        // Also those that were started when there were more ports.
        for number in 0..self.numbers().end.max(MOST) {
            let Some(owner) = self.owner(number) else { continue };
            let daemon = self.numbered(number)?;
            if daemon.process().is_some() {
                alive.push((owner, daemon));
            }
        }
        Ok(alive)
    }

    /// The own daemon of an export, if it lives.
    pub(super) fn of(&self, name: &ExportName) -> Result<Option<Daemon>, ExportError> {
        let own = self.own()?.into_iter().find(|(owner, _)| owner == name);
        Ok(own.map(|(_, daemon)| daemon))
    }

    /// Starts a daemon for an export with a list. Ports that strangers have are passed over. Call under the lock.
    pub(super) async fn start(
        &self,
        name: &ExportName,
        allow: &AllowList,
    ) -> Result<(Daemon, Qmp), ExportError> {
        let mut in_use = None;
        for number in self.preferred(name) {
            let daemon = self.numbered(number)?;
            if daemon.process().is_some() {
                continue;
            }
            fs::write(daemon.directory.file(OWNER), name.as_str())
                .map_err(ExportError::io("recording whose a qemu-storage-daemon is"))?;
            match daemon.ensure(Some(allow)).await {
                Ok(qmp) => return Ok((daemon, qmp)),
                Err(error @ ExportError::AddressInUse { .. }) => in_use = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(in_use.unwrap_or_else(|| ExportError::AllowList {
            name: name.clone(),
            problem: "all ports for exports with an allow-list are taken; give more of them".to_owned(),
        }))
    }

    /// Ends own daemons without an export: what somebody left who died while publishing or withdrawing.
    pub(super) async fn sweep(&self) -> Result<(), ExportError> {
        for (owner, daemon) in self.own()? {
            let Some(mut qmp) = daemon.connect().await? else {
                continue;
            };
            if exports::list(&mut qmp).await?.is_empty() {
                tracing::warn!(%owner, "ending a qemu-storage-daemon without its export");
                daemon.end(qmp).await?;
            }
        }
        Ok(())
    }

    /// Its former number first, where clients look for it; those of others whose daemon died last.
    fn preferred(&self, name: &ExportName) -> Vec<u16> {
        let mut numbers: Vec<_> = self.numbers().collect();
        numbers.sort_by_key(|number| match self.owner(*number) {
            Some(owner) if owner == *name => 0,
            None => 1,
            Some(_) => 2,
        });
        numbers
    }

    fn numbers(&self) -> std::ops::Range<u16> {
        match self.config.listen {
            NbdAddress::Unix(_) => 0..MOST,
            NbdAddress::Tcp(_) => 0..u16::try_from(self.config.own_ports.clone().count()).unwrap_or(u16::MAX),
        }
    }

    fn directory(&self, number: u16) -> std::path::PathBuf {
        self.config.runtime_dir.join(format!("own-{number}"))
    }

    fn owner(&self, number: u16) -> Option<ExportName> {
        let name = fs::read_to_string(self.directory(number).join(OWNER)).ok()?;
        ExportName::new(name).ok()
    }

    fn numbered(&self, number: u16) -> Result<Daemon, ExportError> {
        let listen = match &self.config.listen {
            NbdAddress::Tcp(address) => {
                let mut address = *address;
                address.set_port(self.config.own_ports.start().saturating_add(number));
                NbdAddress::Tcp(address)
            }
            NbdAddress::Unix(path) => NbdAddress::Unix(format!("{}-{number}", path.display()).into()),
        };
        RuntimeDir::prepare(&self.directory(number))?;
        Daemon::new(QemuStorageDaemonConfig {
            runtime_dir: self.directory(number),
            listen,
            ..self.config.clone()
        })
    }
}
