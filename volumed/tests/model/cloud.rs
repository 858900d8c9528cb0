//! The simulated cloud as the daemon sees it.

use std::time::Duration;

use async_trait::async_trait;
use volumed::cloud::{
    Call, Capabilities, Cloud, CloudError, Fate, NewVolume, ProviderSnapshot, ProviderVolume,
};
use volumed::model::Bytes;

use crate::cloud_state::{OWN_VM, Order, Refusal, Stage};
use crate::world::World;

/// So long a caller waits for the end of a job.
const PATIENCE: Duration = Duration::from_secs(12);
/// So often it looks.
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct SimCloud(pub(crate) World);

impl SimCloud {
    /// Every reading takes a moment, and may fail.
    async fn reading(&self) -> Result<(), CloudError> {
        let takes = self.0.now().chance.millis(1, 20);
        tokio::time::sleep(takes).await;
        let mut world = self.0.now();
        if world.cloud.failing_reads > 0 {
            world.cloud.failing_reads -= 1;
            return Err(refused("reading", &Refusal::Transient, ""));
        }
        Ok(())
    }

    async fn mutate(&self, call: &Call, volume: String, order: Order) -> Result<(), CloudError> {
        let doing = format!("{order:?} {volume}");
        self.0.now().send(&call.id, volume, order);
        self.0.planned();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(POLL).await;
            let world = self.0.now();
            let job = &world.cloud.jobs[&call.id];
            let is_answered = job.fault != Some(crate::cloud_state::Fault::LostAnswer);
            if let Stage::Ended(result) = &job.stage
                && is_answered
            {
                let refused = |refusal| refused(&doing, &refusal, &job.volume);
                return result.clone().map_err(refused);
            }
            drop(world);
            if tokio::time::Instant::now() >= deadline {
                return Err(refused(&doing, &Refusal::Unknown, ""));
            }
        }
    }

    fn name_of(&self, reference: &str) -> Result<String, CloudError> {
        let named = self.0.now().name_of(reference);
        named.ok_or_else(|| refused("finding", &Refusal::NotFound, reference))
    }

    fn find(&self, reference: &str) -> Option<ProviderVolume> {
        let listed = self.0.now().listed();
        listed.into_iter().find(|volume| volume.provider_ref == reference)
    }
}

fn refused(doing: &str, refusal: &Refusal, volume: &str) -> CloudError {
    let (doing, source) = (doing.to_owned(), None);
    let reason = "simulated".to_owned();
    match refusal {
        Refusal::NotFound => CloudError::NotFound {
            what: format!("volume {volume}"),
        },
        Refusal::Elsewhere => CloudError::AttachedElsewhere {
            volume: volume.to_owned(),
            vm: "another".into(),
        },
        Refusal::Conflict => CloudError::Conflict { doing, reason },
        Refusal::Refused => CloudError::Refused { doing, reason },
        Refusal::Transient => CloudError::Transient {
            doing,
            retry_after: None,
            source,
        },
        Refusal::Unknown => CloudError::Unknown { doing, source },
    }
}

#[async_trait]
impl Cloud for SimCloud {
    fn provider(&self) -> &'static str {
        "simulated"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size_unit: Bytes(1 << 20),
            max_size: Bytes(1 << 40),
            fresh_volumes_read_zero: true,
            call_expiry: Duration::from_secs(60),
        }
    }

    async fn own_vm(&self) -> Result<String, CloudError> {
        Ok(OWN_VM.into())
    }

    async fn volume(&self, provider_ref: &str) -> Result<Option<ProviderVolume>, CloudError> {
        self.reading().await?;
        Ok(self.find(provider_ref))
    }

    async fn volumes_named(&self, name: &str) -> Result<Vec<ProviderVolume>, CloudError> {
        self.reading().await?;
        let listed = self.0.now().listed();
        Ok(listed.into_iter().filter(|volume| volume.name == name).collect())
    }

    async fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError> {
        self.reading().await?;
        Ok(self.0.now().listed())
    }

    async fn create_volume(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError> {
        self.mutate(call, spec.name.clone(), Order::Create(spec.size))
            .await?;
        let listed = self.0.now().listed();
        let made = listed.into_iter().find(|volume| volume.name == spec.name);
        // Somebody may have deleted it already.
        made.ok_or_else(|| refused("making", &Refusal::NotFound, &spec.name))
    }

    async fn attach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        let name = self.name_of(provider_ref)?;
        self.mutate(call, name, Order::Attach(vm.into())).await
    }

    async fn detach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError> {
        let name = self.name_of(provider_ref)?;
        self.mutate(call, name, Order::Detach(vm.into())).await
    }

    async fn resize(&self, call: &Call, provider_ref: &str, size: Bytes) -> Result<(), CloudError> {
        let name = self.name_of(provider_ref)?;
        self.mutate(call, name, Order::Resize(size)).await
    }

    async fn delete_volume(&self, call: &Call, provider_ref: &str) -> Result<(), CloudError> {
        match self.name_of(provider_ref) {
            Ok(name) => self.mutate(call, name, Order::Delete).await,
            Err(_) => Ok(()),
        }
    }

    async fn snapshots(&self, provider_ref: &str) -> Result<Vec<ProviderSnapshot>, CloudError> {
        self.reading().await?;
        let name = self.name_of(provider_ref)?;
        Ok(self.0.now().cloud.volumes[&name].snapshots.clone())
    }

    async fn create_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError> {
        let volume = self.name_of(provider_ref)?;
        self.mutate(call, volume, Order::TakeSnapshot(name.into()))
            .await?;
        let taken = self.snapshots(provider_ref).await?;
        let taken = taken.into_iter().find(|snapshot| snapshot.name == name);
        taken.ok_or_else(|| refused("taking a snapshot", &Refusal::Unknown, ""))
    }

    async fn revert_to_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        let name = self.name_of(provider_ref)?;
        self.mutate(call, name, Order::Revert(snapshot_ref.into())).await
    }

    async fn delete_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError> {
        match self.name_of(provider_ref) {
            Ok(name) => {
                self.mutate(call, name, Order::DropSnapshot(snapshot_ref.into()))
                    .await
            }
            Err(_) => Ok(()),
        }
    }

    async fn fate(&self, call: &Call, _provider_ref: Option<&str>) -> Result<Fate, CloudError> {
        self.reading().await?;
        let world = self.0.now();
        Ok(match world.cloud.jobs.get(&call.id).map(|job| &job.stage) {
            None | Some(Stage::Travelling) => Fate::Unseen,
            Some(Stage::Running) => Fate::Pending("the job".into()),
            Some(Stage::Ended(_)) => Fate::Ended,
        })
    }
}
