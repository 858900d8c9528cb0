//! Both APIs of the service over real records, a source with one machine, a schedule, and a transfer under way.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

use volume_client::types::TokenScope;

use crate::api::{
    self, Access, Api, Discoverer, DiscoveryRequest, Recognised, Replications, Schedules, Token, TokenKeeper,
    Unanswered,
};
use crate::config::testing::settings;
use crate::model::{DiskSpec, MachineSpec, NetworkSpec, Step};
use crate::pipeline::{Board, BoardWatch, Desk, Dispatcher, Doing, Replicator, Watch};
use crate::schedule::{AtDesk, Memory as _, Missed, Plan, Records, Scheduler, SystemClock};
use crate::source::{Category, Cycle, Frozen, Source, SourceBook, SourceFailure, Wanted};
use crate::store::{JobDisk, JobEnd, Run, Store};
use crate::transfer::{Progress, RateLimit};

/// Knows the tokens `looks` and `operates`, and says nothing of `unanswered`.
struct Daemon;

#[async_trait]
impl TokenKeeper for Daemon {
    async fn recognise(&self, secret: &str) -> Result<Option<Recognised>, Unanswered> {
        let scope = match secret {
            "looks" => TokenScope::Read,
            "operates" => TokenScope::Operate,
            "unanswered" => return Err(Unanswered::Silent),
            _ => return Ok(None),
        };
        Ok(Some(Recognised {
            name: secret.to_owned(),
            scope,
            expires_at: None,
        }))
    }
}

/// Knows the source `vc` with the machine `web`.
struct Vcenter;

fn web() -> MachineSpec {
    MachineSpec {
        id: "vm-57".to_owned(),
        name: "web".to_owned(),
        path: "/DC/vm/web".to_owned(),
        disks: vec![DiskSpec::default()],
        networks: vec![NetworkSpec::default()],
        problem: Some("it has a disk that is shared".to_owned()),
        notes: vec!["it is old".to_owned()],
        ..MachineSpec::default()
    }
}

#[async_trait]
impl SourceBook for Vcenter {
    fn hosts(&self) -> Vec<String> {
        vec!["vc".to_owned()]
    }

    fn workers(&self) -> Vec<(String, bool)> {
        vec![("beside".to_owned(), true)]
    }

    async fn connect(&self, _host: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Source for Vcenter {
    fn place(&self) -> String {
        "vc".to_owned()
    }

    async fn machines(&self, _wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        Ok(vec![web()])
    }

    async fn machine(&self, wanted: &str, _datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        match wanted {
            "web" | "/DC/vm/web" => Ok(web()),
            _ => Err(SourceFailure::new(Category::NotFound, "there is none")),
        }
    }

    async fn freeze(&self, _machine: &MachineSpec, _cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        unreachable!("nobody works on the jobs")
    }

    async fn clean_up(&self, _machine: &MachineSpec, _owner: &str) -> Result<(), SourceFailure> {
        unreachable!("nobody works on the jobs")
    }
}

#[async_trait]
impl Discoverer for Vcenter {
    async fn discover(&self, _request: &DiscoveryRequest) -> Result<Vec<MachineSpec>, SourceFailure> {
        Ok(vec![web()])
    }
}

pub(in crate::api) struct Site {
    pub(super) replications: Router,
    pub(super) discovery: Router,
    pub(super) stopping: CancellationToken,
    store: Arc<Store>,
    /// Keeps the transfer under way.
    _watch: BoardWatch,
    _dir: TempDir,
    _running: DropGuard,
}

const PLAN: &str = "
    [[schedule]]
    name = 'nightly'
    calendar = '02:30'
    zone = 'Europe/Berlin'
    blackouts = ['Mon..Fri 08:00-18:00']
    what = [{ vcenter_host = 'vc', vms = ['web', 'gone'] }]";

impl Site {
    pub(in crate::api) fn new() -> Self {
        Self::asked(NonZeroU32::MAX)
    }

    /// Where each caller may ask so often in a second.
    pub(in crate::api) fn asked(often: NonZeroU32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("e.db")).unwrap());
        let stopping = CancellationToken::new();
        let board = Board::new();
        let watch = board.watch("job-20261130-070000");
        watch.moving(Doing::Copying, "disk-1", &Arc::new(Progress::new()));
        let replicator = Replicator {
            client: volume_client::VolumedClient::unix(dir.path().join("nobody.sock")).unwrap(),
            store: Arc::clone(&store),
            run: Run::begin(&dir.path().join("run"), dir.path()).unwrap().0,
            settings: settings(dir.path()),
            board: board.clone(),
            rate: RateLimit::default(),
        };
        let dispatcher = Dispatcher::new(replicator, Arc::new(Vcenter), stopping.clone());
        let desk = Desk::new(Arc::new(dispatcher), vec![1]);
        let access = Access::new(Token::new("right"), Arc::new(Daemon), often);
        let state = Replications {
            api: Api {
                board,
                stopping: stopping.clone(),
                desk: Some(desk.clone()),
                expiry: Some(Arc::new(|| "2031-05-06T00:00:00Z".parse().ok())),
            },
            schedules: schedules(&desk, &store, &stopping),
            desk,
            access: Arc::new(access),
        };
        Self {
            replications: api::replications(state),
            discovery: api::discovery(Arc::new(Vcenter)),
            _running: stopping.clone().drop_guard(),
            stopping,
            store,
            _watch: watch,
            _dir: dir,
        }
    }

    /// What the service answers to who brings the token, with `{}` for a body where none is given.
    pub(in crate::api) async fn ask(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let (status, _, text) = send(&self.replications, method, path, &body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A job that waits.
    pub(in crate::api) async fn job(&self) -> Value {
        let body = json!({
            "source_vm": {"id": "vm-57", "name": "web", "path": "/DC/vm/web"},
            "vcenter_host": "vc",
        });
        let (status, job) = self.ask("POST", "/api/v1/replications", body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        job
    }

    /// Takes a step of a job, with a disk, and ends it.
    pub(in crate::api) fn work(&self, job: &str, end: &JobEnd) {
        let turn = self.store.begin_attempt(job).unwrap().unwrap();
        self.store.begin_step(&turn, Step::JobRecord).unwrap();
        self.store
            .end_step(&turn, Step::JobRecord, "done", Some("it is"))
            .unwrap();
        self.store.add_note(&turn, "it is old").unwrap();
        let disk = JobDisk {
            disk_id: "2000".to_owned(),
            volume_id: "volume".to_owned(),
            mode: Some("everything".to_owned()),
            data_bytes: Some(4096),
            ..JobDisk::default()
        };
        self.store.note_disk(job, &disk).unwrap();
        self.store.end_job(&turn, end).unwrap();
    }
}

fn schedules(desk: &Desk, store: &Arc<Store>, stopping: &CancellationToken) -> Schedules {
    let records = Records::new(Arc::clone(store));
    let at = |text: &str| text.parse().unwrap();
    let missed = Missed {
        first: at("2026-11-28T01:30:00Z"),
        last: at("2026-11-30T01:30:00Z"),
        runs: 3,
    };
    records.missed("nightly", &missed).unwrap();
    let starter = AtDesk::new(desk.clone(), stopping.clone());
    let scheduler = Scheduler::new(Arc::new(starter), Arc::new(records), Arc::new(SystemClock));
    let timetable = scheduler.timetable();
    let plan = Plan::from_toml(PLAN).unwrap().schedules;
    tokio::spawn(scheduler.run(watch::channel(plan).1, stopping.clone()));
    Schedules {
        timetable,
        problem: watch::channel(None).1,
    }
}

/// Sends a request with the token of the service.
pub(super) async fn send(
    router: &Router,
    method: &str,
    path: &str,
    body: &Value,
) -> (StatusCode, HeaderMap, String) {
    send_with(router, "right", method, path, body).await
}

/// Sends a request with a token.
pub(in crate::api) async fn send_with(
    router: &Router,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body.to_string()));
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (parts.status, parts.headers, text)
}
