//! A real desk and real records before a vCenter with three machines. Nobody works on the jobs.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::config::testing::settings;
use crate::model::MachineSpec;
use crate::pipeline::{Board, Dispatcher, Replicator};
use crate::source::{Category, Cycle, Frozen, Source, SourceBook, SourceFailure, Wanted};
use crate::store::{JobFilter, JobRow, Run, Store};
use crate::transfer::RateLimit;

/// Knows `web`, `db` and `twin`; of the last there are two.
struct Vcenter;

#[async_trait]
impl SourceBook for Vcenter {
    fn hosts(&self) -> Vec<String> {
        Vec::new()
    }

    async fn connect(&self, vcenter_host: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        match vcenter_host {
            "vc" => Ok(Arc::new(Self)),
            _ => Err(SourceFailure::new(Category::Refused, "nothing is known of it")),
        }
    }
}

#[async_trait]
impl Source for Vcenter {
    fn place(&self) -> String {
        "vc".to_owned()
    }

    async fn machines(&self, _wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        unreachable!("nobody asks for all")
    }

    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        let name = wanted.rsplit('/').next().unwrap_or(wanted);
        match (name, datacenter) {
            (_, Some("DC9")) => Err(SourceFailure::new(Category::NotFound, "there is no DC9")),
            ("web" | "db", _) => Ok(MachineSpec {
                id: format!("vm-{name}"),
                name: name.to_owned(),
                path: format!("/DC/vm/{name}"),
                ..MachineSpec::default()
            }),
            ("twin", _) => Err(SourceFailure::new(Category::Ambiguous, "there are two `twin`")),
            _ => Err(SourceFailure::new(
                Category::NotFound,
                format!("there is no `{wanted}`"),
            )),
        }
    }

    async fn freeze(&self, _machine: &MachineSpec, _cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        unreachable!("nobody works on the jobs")
    }

    async fn clean_up(&self, _machine: &MachineSpec, _owner: &str) -> Result<(), SourceFailure> {
        unreachable!("nobody works on the jobs")
    }
}

struct Site {
    at_desk: AtDesk,
    store: Arc<Store>,
    stopping: CancellationToken,
    _dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("e.db")).unwrap());
        let stopping = CancellationToken::new();
        let replicator = Replicator {
            client: volume_client::VolumedClient::unix(dir.path().join("nobody.sock")).unwrap(),
            store: Arc::clone(&store),
            run: Run::begin(&dir.path().join("run"), dir.path()).unwrap().0,
            settings: settings(dir.path()),
            board: Board::new(),
            rate: RateLimit::default(),
        };
        let dispatcher = Dispatcher::new(replicator, Arc::new(Vcenter), stopping.clone());
        let desk = Desk::new(Arc::new(dispatcher), vec![1]);
        Self {
            at_desk: AtDesk::new(desk, stopping.clone()),
            store,
            stopping,
            _dir: dir,
        }
    }

    async fn start(&self, selection: &Selection) -> Vec<VmFate> {
        let starts = self.at_desk.start("nightly", selection).await;
        let named: Vec<_> = starts.iter().map(|start| &start.vm).collect();
        assert_eq!(named, selection.vms.iter().collect::<Vec<_>>());
        starts.into_iter().map(|start| start.fate).collect()
    }

    fn jobs(&self) -> Vec<JobRow> {
        let all = JobFilter {
            status: None,
            context: None,
            before: None,
            limit: 10,
        };
        self.store.jobs(&all).unwrap()
    }
}

fn selection(vms: &[&str]) -> Selection {
    Selection {
        vcenter_host: "vc".to_owned(),
        vms: vms.iter().map(ToString::to_string).collect(),
        datacenter: None,
        replication_type: None,
    }
}

#[tokio::test]
async fn one_that_is_refused_does_not_stop_the_others_and_a_busy_one_is_said() {
    let site = Site::new();
    let fates = site
        .start(&selection(&["/DC/vm/web", "gone", "twin", "web", "db"]))
        .await;
    let [
        VmFate::Started { job: web },
        VmFate::Refused { why: gone },
        VmFate::Refused { why: twin },
        VmFate::Busy { job: busy },
        VmFate::Started { job: db },
    ] = &fates[..]
    else {
        panic!("{fates:?}");
    };
    assert_eq!(busy, web);
    assert!(
        gone.contains("no `gone`") && twin.contains("two `twin`"),
        "{fates:?}"
    );
    let mut ids: Vec<_> = site.jobs().into_iter().map(|job| job.id).collect();
    ids.sort();
    assert_eq!(ids, [web.clone(), db.clone()], "in their order");
}

#[tokio::test]
async fn a_job_tells_which_schedule_asked_for_it_and_for_what() {
    let site = Site::new();
    let wanted = Selection {
        datacenter: Some("DC".to_owned()),
        replication_type: Some(ReplicationType::Incremental),
        ..selection(&["web"])
    };
    site.start(&wanted).await;
    let [job] = &site.jobs()[..] else { panic!() };
    assert_eq!(job.replication_type, ReplicationType::Incremental);
    let asked: serde_json::Value = serde_json::from_str(&job.request).unwrap();
    let expected = serde_json::json!({
        "asked_by": "schedule nightly",
        "vm": "web",
        "vcenter_host": "vc",
        "datacenter": "DC",
        "replication_type": "incremental",
    });
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn where_a_source_is_not_known_each_machine_says_so() {
    let site = Site::new();
    for wanted in [
        Selection {
            vcenter_host: "elsewhere".to_owned(),
            ..selection(&["web", "db"])
        },
        Selection {
            datacenter: Some("DC9".to_owned()),
            ..selection(&["web", "db"])
        },
    ] {
        let fates = site.start(&wanted).await;
        assert!(
            fates.iter().all(|fate| matches!(fate, VmFate::Refused { .. })),
            "{fates:?}"
        );
    }
    assert!(site.jobs().is_empty());
}

#[tokio::test]
async fn a_service_that_stops_asks_for_nothing_more() {
    let site = Site::new();
    site.stopping.cancel();
    let fates = site.start(&selection(&["web"])).await;
    assert!(matches!(&fates[..], [VmFate::Refused { why }] if why.contains("by hand")));
    assert!(site.jobs().is_empty());
}
