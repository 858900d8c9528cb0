//! A vCenter, or a host alone, of the simulator.

use std::time::Duration;

use async_trait::async_trait;
use migrate_engine::source::vsphere::{
    Credentials, Endpoint, Patience, Quiesce, Reference, SnapshotRequest, Trust, VsphereSource,
};
use migrate_engine::source::{Cycle, FrozenDisk, Source, SourceFailure, Wanted};
use serde_json::Value;

use crate::copying::said;
use crate::fixture::{Fixture, Names, cycle, scribbles};
use crate::library::Library;
use crate::site::{PASSWORD, Site, USER};

const SIZE: usize = 8 << 20;
/// The calls that a freeze changes something with, and whether the call or its task fails. In this order each is met: tracking
/// is not turned on, then the snapshot that makes it take effect stays, then that stays again, then no other one is made.
const TROUBLES: [&str; 6] = [
    "method=ReconfigVM_Task&n=1",
    "method=ReconfigVM_Task&n=1&task=1",
    "method=RemoveSnapshot_Task&n=9",
    "method=RemoveSnapshot_Task&n=9&task=1",
    "method=CreateSnapshot_Task&n=1",
    "method=CreateSnapshot_Task&n=1&task=1",
];

/// The first running machine of a site that has odd ones, too. It has two disks.
pub(crate) struct Vsphere {
    site: Site,
    is_host: bool,
    names: Names,
    /// Reads the disks, in the place of the host's web server.
    library: Option<Library>,
}

impl Vsphere {
    pub(crate) async fn start(model: &[&str]) -> Self {
        let size = SIZE.to_string();
        let usual = [
            "-odd",
            "-disks",
            "2",
            "-disk-size",
            &size,
            "-max-extents",
            "3",
            "-lock-running",
        ];
        let site = Site::start(&[model, &usual].concat());
        let source = login(&site, PASSWORD).await.unwrap();
        let machines = source.machines(&Wanted::default()).await.unwrap();
        let is_it = |name: &str, power: Option<&str>| !name.starts_with("odd") && power == Some("poweredOn");
        let mut machines = machines.into_iter();
        let machine = machines
            .find(|m| is_it(&m.name, m.power_state.as_deref()))
            .unwrap();
        Self {
            site,
            is_host: !model.is_empty(),
            names: Names {
                id: machine.id,
                path: machine.path,
                name: machine.name,
            },
            library: None,
        }
    }

    /// The same, with disks read through VMware's own library; `None` where a tool is missing.
    pub(crate) async fn start_with_library(model: &[&str]) -> Option<Self> {
        let library = Some(Library::new(PASSWORD)?);
        Some(Self {
            library,
            ..Self::start(model).await
        })
    }

    pub(crate) fn library(&self) -> &Library {
        self.library.as_ref().unwrap()
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    fn by_its_way(&self, source: VsphereSource) -> VsphereSource {
        match &self.library {
            Some(library) => source.reading_through(library.vddk()),
            None => source,
        }
    }

    /// So long a task of this method takes.
    pub(crate) fn delay(&self, method: &str, length: Duration) {
        let ms = length.as_millis();
        self.site.post(&format!("delay?method={method}&ms={ms}&task=1"));
    }

    pub(crate) async fn source_with(&self, patience: Patience) -> VsphereSource {
        self.by_its_way(login_with(&self.site, PASSWORD, patience).await.unwrap())
    }

    fn snapshots(&self) -> Vec<Value> {
        let list = self.site.get(&format!("snapshots?vm={}", self.names.id));
        serde_json::from_slice(&list).unwrap()
    }

    fn snapshot(&self, cycle: &Cycle) -> Reference {
        let name = format!("volumed {}", cycle.name);
        let list = self.snapshots();
        let node = list
            .iter()
            .find(|node| node["name"] == name && node["description"] == cycle.owner);
        let id = node.unwrap_or_else(|| panic!("no snapshot of {cycle:?}: {list:?}"))["snapshot"].clone();
        Reference::new("VirtualMachineSnapshot", id.as_str().unwrap())
    }
}

async fn login(site: &Site, password: &str) -> Result<VsphereSource, SourceFailure> {
    login_with(site, password, Patience::default()).await
}

async fn login_with(site: &Site, password: &str, patience: Patience) -> Result<VsphereSource, SourceFailure> {
    let credentials = Credentials::new(USER, password);
    VsphereSource::connect(&site.endpoint, &site.trust, credentials, patience).await
}

#[async_trait]
impl Fixture for Vsphere {
    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.by_its_way(login(&self.site, PASSWORD).await.unwrap()))
    }

    fn names(&self) -> &Names {
        &self.names
    }

    /// A host has no folders, so that names are unique.
    fn twins(&self) -> Option<&'static str> {
        (!self.is_host).then_some("odd-twin")
    }

    fn refused(&self) -> &'static [&'static str] {
        if self.library.is_some() {
            return &[
                "odd-no-config",
                "odd-independent",
                "odd-raw",
                "odd-diskless",
                "odd-sizeless",
            ];
        }
        &[
            "odd-no-config",
            "odd-independent",
            "odd-raw",
            "odd-snapshot",
            "odd-diskless",
            "odd-sizeless",
        ]
    }

    fn write(&self, seed: u64) {
        for (offset, bytes) in scribbles(seed, SIZE) {
            let hook = format!("write?vm={}&disk=2000&offset={offset}", self.names.id);
            self.site.hook("POST", &hook, &bytes);
        }
    }

    fn grow(&self) -> u64 {
        let size = 12 << 20;
        self.site
            .post(&format!("grow?vm={}&disk=2000&bytes={size}", self.names.id));
        size
    }

    fn truth(&self, cycle: &Cycle, disk: &FrozenDisk) -> Vec<u8> {
        let key = disk.id.strip_prefix("disk-").unwrap().parse().unwrap();
        self.site.frozen(&self.names.id, key, &self.snapshot(cycle))
    }

    fn freezes(&self) -> bool {
        true
    }

    fn tells_where(&self) -> bool {
        true
    }

    async fn disturb(&self, cycle: &Cycle) {
        let snapshot = self.snapshot(cycle);
        let session = self.site.login().await;
        session.remove_snapshot(&snapshot).await.unwrap();
        session.logout().await.unwrap();
    }

    async fn lose(&self, cycle: &Cycle) {
        let session = self.site.login().await;
        let request = SnapshotRequest {
            name: format!("volumed {}", cycle.name),
            description: cycle.owner.clone(),
            quiesce: Quiesce::No,
        };
        let machine = Reference::machine(&self.names.id);
        session.create_snapshot(&machine, &request).await.unwrap();
        session.logout().await.unwrap();
    }

    fn left(&self) -> Vec<String> {
        let list = self.snapshots();
        let snapshots = list
            .iter()
            .map(|node| format!("{} of {}", node["name"], node["description"]));
        let servers = self.library.iter().flat_map(Library::left);
        snapshots.chain(servers).collect()
    }

    fn hinder(&self, n: usize) -> bool {
        let trouble = TROUBLES.get(n);
        if let Some(trouble) = trouble {
            self.site.post(&format!("fault?{trouble}"));
        }
        trouble.is_some()
    }

    fn unhinder(&self) {
        for trouble in TROUBLES {
            let method = trouble.split('&').next().unwrap();
            self.site.post(&format!("fault?{method}&n=0"));
        }
    }

    fn secrets(&self) -> &'static [&'static str] {
        &["p@ss", "p%40ss", "hunter2"]
    }

    async fn refusals(&self) -> Vec<String> {
        let wrong = login(&self.site, "hunter2").await.err().unwrap();
        self.site.post("fault?method=Login&n=1");
        let fault = login(&self.site, PASSWORD).await.err().unwrap();
        let nowhere: Endpoint = "127.0.0.1:1".parse().unwrap();
        let credentials = || Credentials::new(USER, PASSWORD);
        let refused =
            VsphereSource::connect(&nowhere, &self.site.trust, credentials(), Patience::default()).await;
        let other = Trust::Pinned("00".repeat(32).parse().unwrap());
        let untrusted =
            VsphereSource::connect(&self.site.endpoint, &other, credentials(), Patience::default()).await;
        let mut failures = vec![wrong, fault, refused.err().unwrap(), untrusted.err().unwrap()];
        if let Some(library) = &self.library {
            library.expect_password("another");
            let source = self.source().await;
            let machine = source.machine(&self.names.id, None).await.unwrap();
            let frozen = source.freeze(&machine, &cycle("refused")).await.unwrap();
            failures.extend(frozen.reader(&frozen.disks()[0], None).await.err());
            frozen.release().await.unwrap();
            library.expect_password(PASSWORD);
        }
        failures.iter().map(|failure| said(failure)).collect()
    }
}
