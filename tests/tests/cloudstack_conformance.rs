//! The conformance suite over the provider `cloudstack` and every wrapper of it, on loop devices of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use volumed::cloud::conformance::{Guest, Rig, suite};
use volumed::cloud::{
    CallObserver, Cloud, CloudStack, Fault, FaultScript, Faulty, Metered, Method, Retry, RetryPolicy,
};
use volumed::model::Identity;
use whole_system_tests::cloudstack::{CloudStackServer, JobIds, Setup};
use whole_system_tests::{Disk, Hypervisor, LoopHypervisor, Unplug, is_root, write_credentials};

/// A cloud on loop devices, and a provider that uses it.
struct Bench {
    server: CloudStackServer,
    hypervisor: Arc<LoopHypervisor>,
    provider: Arc<dyn Cloud>,
    _dir: TempDir,
}

impl Bench {
    /// `None`, loudly, where this is not root.
    async fn new(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let hypervisor = Arc::new(LoopHypervisor::new(Unplug::Lazy));
        let mut setup = Setup::on(hypervisor.clone());
        setup.settings.most_data_volumes = 16;
        change(&mut setup);
        let server = CloudStackServer::start(setup).await;
        let dir = tempfile::tempdir().unwrap();
        let credentials = dir.path().join("credentials");
        write_credentials(&credentials, &server.api_key(), &server.secret_key());
        let mut settings = volumed::config::CloudStack::new(
            server.url(),
            server.zone_id().to_string(),
            server.offering_id().to_string(),
        );
        settings.credentials_file = Some(credentials);
        settings.vm_id = Some(server.vm_id().to_string());
        settings.poll_interval = Duration::from_millis(20);
        let provider = CloudStack::open(settings).await.unwrap();
        Some(Self {
            server,
            hypervisor,
            provider: Arc::new(provider),
            _dir: dir,
        })
    }

    fn rig(&self, cloud: Arc<dyn Cloud>) -> Rig {
        Rig {
            cloud,
            guest: Arc::new(Loops(Arc::clone(&self.hypervisor))),
            prefix: "conformance".to_owned(),
        }
    }

    async fn run(&self, cloud: Arc<dyn Cloud>) {
        suite(self.rig(cloud)).await;
        assert_eq!(self.server.violations(), [], "rules of dealing with CloudStack");
        assert_eq!(self.hypervisor.plugged().await, [], "nothing stays plugged in");
    }
}

/// The kernel of this machine, asked for the devices that the hypervisor made.
struct Loops(Arc<LoopHypervisor>);

impl Guest for Loops {
    fn devices(&self, identity: &Identity) -> Vec<PathBuf> {
        let Identity::Serial(wanted) = identity else {
            return Vec::new();
        };
        let plugged = futures_util::FutureExt::now_or_never(self.0.plugged()).expect("it does not wait");
        let is_it = |disk: &&Disk| disk.serial == *wanted;
        let nodes = plugged.iter().filter(is_it).filter_map(|disk| self.0.node(disk));
        nodes.map(PathBuf::from).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudstack() {
    if let Some(bench) = Bench::new(|_| ()).await {
        bench.run(Arc::clone(&bench.provider)).await;
    }
}

/// A server that does not know `customjobid` gives jobs ids of its own.
#[tokio::test(flavor = "multi_thread")]
async fn cloudstack_where_job_ids_are_the_servers() {
    if let Some(bench) = Bench::new(|setup| setup.settings.job_ids = JobIds::OfTheServer).await {
        bench.run(Arc::clone(&bench.provider)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metered() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(&'static str, &'static str)>>);
    impl CallObserver for Seen {
        fn finished(&self, method: &'static str, outcome: &'static str, _took: Duration) {
            self.0.lock().push((method, outcome));
        }
    }
    if let Some(bench) = Bench::new(|_| ()).await {
        let seen = Arc::new(Seen::default());
        let cloud = Metered::around(seen.clone(), Arc::clone(&bench.provider));
        bench.run(Arc::new(cloud)).await;
        for expected in [("attach", "ok"), ("create_volume", "refused")] {
            assert!(seen.0.lock().contains(&expected), "{expected:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_without_faults() {
    if let Some(bench) = Bench::new(|_| ()).await {
        let cloud = Faulty::around(FaultScript::new(), Arc::clone(&bench.provider));
        bench.run(Arc::new(cloud)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_over_a_cloud_that_fails_often() {
    if let Some(bench) = Bench::new(|_| ()).await {
        let script = FaultScript::new();
        for method in [
            Method::OwnVm,
            Method::Volume,
            Method::CreateVolume,
            Method::Attach,
            Method::Detach,
            Method::Resize,
            Method::DeleteVolume,
            Method::Snapshots,
            Method::CreateSnapshot,
            Method::RevertToSnapshot,
            Method::DeleteSnapshot,
        ] {
            let retry_after = Some(Duration::from_millis(1));
            script.push(method, Fault::Transient { retry_after: None });
            script.push(method, Fault::Transient { retry_after });
        }
        let often = Faulty::around(script.clone(), Arc::clone(&bench.provider));
        let policy = RetryPolicy {
            first_pause: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        bench.run(Arc::new(Retry::around(policy, Arc::new(often)))).await;
        assert_eq!(script.left(Method::RevertToSnapshot), 0, "the faults were met");
    }
}
