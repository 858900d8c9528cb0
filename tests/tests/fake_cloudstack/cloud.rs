//! A server with a VM elsewhere and a caller, as most of these tests have it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use whole_system_tests::cloudstack::{Caller, CloudStackServer, ElsewhereHypervisor, Refusal, Setup};

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Cloud {
    pub(crate) server: CloudStackServer,
    pub(crate) guest: Arc<ElsewhereHypervisor>,
    pub(crate) user: Caller,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Setup)) -> Self {
        let guest = Arc::new(ElsewhereHypervisor::default());
        let mut setup = Setup::on(guest.clone());
        setup.settings.detach_patience = Duration::from_millis(50);
        adjust(&mut setup);
        let server = CloudStackServer::start(setup).await;
        let user = server.caller(server.credentials("mig"));
        Self { server, guest, user }
    }

    pub(crate) fn admin(&self) -> Caller {
        self.server.caller(self.server.credentials("admin"))
    }

    pub(crate) fn vm(&self) -> String {
        self.server.vm_id().to_string()
    }

    /// A volume of 1 GiB, as the job left it.
    pub(crate) async fn create(&self, name: &str) -> Uuid {
        let (offering, zone) = (
            self.server.offering_id().to_string(),
            self.server.zone_id().to_string(),
        );
        let params = [
            ("name", name),
            ("diskofferingid", &offering),
            ("zoneid", &zone),
            ("size", "1"),
        ];
        let made = self.user.run("createVolume", &params).await.unwrap();
        made["volume"]["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn attach(&self, volume: Uuid) -> Result<Value, Refusal> {
        self.user
            .run(
                "attachVolume",
                &[("id", &volume.to_string()), ("virtualmachineid", &self.vm())],
            )
            .await
    }

    pub(crate) async fn detach(&self, volume: Uuid) -> Result<Value, Refusal> {
        self.user
            .run("detachVolume", &[("id", &volume.to_string())])
            .await
    }

    pub(crate) async fn created_and_attached(&self, name: &str) -> Uuid {
        let volume = self.create(name).await;
        self.attach(volume).await.unwrap();
        volume
    }

    /// Whether the VM's hypervisor has the volume plugged in.
    pub(crate) async fn is_plugged(&self, volume: Uuid) -> bool {
        let disk = self.server.disk(volume).unwrap();
        self.server
            .stranger()
            .plugged(self.server.vm_id())
            .await
            .contains(&disk)
    }

    pub(crate) fn is_attached(&self, volume: Uuid) -> bool {
        self.server.volume(volume).unwrap().attachment.is_some()
    }
}

/// What a refusal must be: its code, and a part of its text.
pub(crate) fn assert_refused(result: Result<Value, Refusal>, code: u16, text: &str) {
    let refusal = result.expect_err("this is refused");
    assert_eq!(refusal.code, code, "{refusal:?}");
    assert!(refusal.text.contains(text), "{refusal:?} has no \"{text}\"");
}
