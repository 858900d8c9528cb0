//! Taking exports away from nbd-server, which cannot do that itself.

use std::time::Duration;

use super::{DropIn, Server};
use crate::{
    ExportError, ExportName, Withdrawal,
    process::{ServerProcess, poll_until},
};

/// How long the child of a client that has just disconnected may take to end.
const GRACE: Duration = Duration::from_millis(500);

impl Server {
    /// Closes the node first: from then on nobody new can open the device, and whoever has it open is seen.
    pub(super) async fn unpublish(
        &self,
        name: &ExportName,
        withdrawal: Withdrawal,
    ) -> Result<(), ExportError> {
        let Some(record) = self
            .drop_ins
            .all()?
            .into_iter()
            .find(|record| record.name == *name)
        else {
            // A crash may have left a node without a record.
            if !self.drop_ins.is_foreign(name) {
                self.drop_ins.remove(name)?;
            }
            self.pins.lock().remove(name);
            return Ok(());
        };
        let closed = self.drop_ins.close_node(name)?;
        match withdrawal {
            Withdrawal::WhenIdle => {
                let clients = self.master.serving(record.identity);
                // Looked at once: the node is closed, so there can be no others.
                let idle = || clients.iter().all(ServerProcess::has_ended);
                if !poll_until(GRACE, idle).await {
                    closed.reopen()?;
                    return Err(ExportError::InUse { name: name.clone() });
                }
            }
            Withdrawal::DropClients => self.drop_clients(&record).await?,
        }
        self.drop_ins.remove(name)?;
        self.pins.lock().remove(name);
        self.reload_without().await?;
        tracing::info!(%name, "export withdrawn");
        Ok(())
    }

    /// Withdraws records whose device is no longer the verified one, and replaces a dead or forgetful master.
    /// Returns the number of exports.
    pub(super) async fn mend(&self) -> Result<usize, ExportError> {
        let (current, stale): (Vec<_>, Vec<_>) =
            self.drop_ins.all()?.into_iter().partition(DropIn::is_current);
        for record in &stale {
            tracing::warn!(name = %record.name, device = %record.identity, "the exported device is gone, withdrawing");
            self.drop_ins.remove(&record.name)?;
            self.pins.lock().remove(&record.name);
            if record.this_boot {
                self.drop_clients(record).await?;
            }
        }
        let names: Vec<_> = current.into_iter().map(|record| record.name).collect();
        let whole = stale.is_empty() && (names.is_empty() || self.master.lists(&names).await);
        if !whole {
            self.reload_without().await?;
        }
        Ok(names.len())
    }

    /// A new master that never knew the withdrawn export.
    async fn reload_without(&self) -> Result<(), ExportError> {
        self.master.restart(&self.names()?).await
    }

    async fn drop_clients(&self, record: &DropIn) -> Result<(), ExportError> {
        for child in self.master.serving(record.identity) {
            tracing::info!(name = %record.name, pid = child.pid(), "dropping a client");
            self.master.end_child(child).await?;
        }
        Ok(())
    }
}
