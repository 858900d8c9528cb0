//! What a job that ends without success, or a process that was killed with it, left behind.

use super::{ReplicationError, Replicator, owner, request_id};
use crate::block::Cancel;
use crate::config::Afterwards;
use crate::source::{Category, Source};
use crate::store::JobRow;
use crate::target::{Subject, Volumes};

impl Replicator {
    /// Removes the snapshots of ours at the machine. A machine that is gone has none.
    pub(super) async fn clean_up_source(
        &self,
        job: &JobRow,
        source: &dyn Source,
    ) -> Result<(), ReplicationError> {
        let Some(context) = self.store.context(job.context)? else {
            return Ok(());
        };
        let status = self
            .client
            .with_request_id(request_id(&job.id))
            .status()
            .await
            .map_err(ReplicationError::Daemon)?;
        let cleaned = async {
            let wanted = crate::source::Wanted {
                machine: Some(context.vm_id.clone()),
                datacenter: None,
            };
            for machine in source.machines(&wanted).await? {
                source.clean_up(&machine, &owner(&status)).await?;
            }
            Ok(())
        };
        match cleaned.await {
            Err(failure @ crate::source::SourceFailure { .. }) if failure.category == Category::NotFound => {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Detaches the volumes that the job attached.
    pub(super) async fn clean_up_here(&self, job: &JobRow) -> Result<(), ReplicationError> {
        if self.settings.afterwards == Afterwards::StayAttached {
            return Ok(());
        }
        let (never, client) = (Cancel::new(), self.client.with_request_id(request_id(&job.id)));
        let mut first = Ok(());
        for disk in self.store.job_disks(&job.id)? {
            let Ok(volume) = disk.volume_id.parse() else {
                continue;
            };
            let volumes = Volumes {
                client: &client,
                subject: Subject::Disk(&disk.disk_id),
                timeout: self.settings.operation_timeout,
                cancel: &never,
            };
            first = first.and(volumes.detach(volume).await.map_err(ReplicationError::from));
        }
        first
    }
}
