//! Each path over a scheduler that runs, with records in a database and a starter that starts nothing.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

use super::*;
use crate::schedule::{Clock, Memory as _, Plan, Records, Scheduler, Starter, VmFate, VmStart};
use crate::store::Store;

const PLAN: &str = "
    [[schedule]]
    name = 'nightly / all'
    calendar = '02:30'
    zone = 'Europe/Berlin'
    what = [{ vcenter_host = 'vc', vms = ['web', 'busy', 'gone'] }]
    [[schedule]]
    name = 'slow'
    calendar = 'Mon..Fri 09:00'
    zone = 'UTC'
    blackouts = ['Mon..Fri 08:00-18:00']
    what = [{ vcenter_host = 'vc', vms = ['slow'] }]
    [[schedule]]
    name = 'skips'
    calendar = 'Mon..Fri 09:00'
    zone = 'UTC'
    in_blackout = 'skip'
    blackouts = ['Mon..Fri 08:00-18:00']
    what = [{ vcenter_host = 'vc', vms = ['web'] }]";

/// It is always the same moment.
struct Standstill;

impl Clock for Standstill {
    fn now(&self) -> Timestamp {
        "2026-11-30T07:00:00Z".parse().unwrap()
    }
}

struct Told;

#[async_trait]
impl Starter for Told {
    async fn start(&self, _schedule: &str, selection: &Selection) -> Vec<VmStart> {
        let mut starts = Vec::new();
        for vm in &selection.vms {
            let job = "job-20261130-070000".to_owned();
            let fate = match &**vm {
                "slow" => std::future::pending().await,
                "busy" => VmFate::Busy { job },
                "gone" => VmFate::Refused {
                    why: "there is no `gone`".to_owned(),
                },
                _ => VmFate::Started { job },
            };
            starts.push(VmStart { vm: vm.clone(), fate });
        }
        starts
    }
}

struct Site {
    router: Router,
    records: Records,
    problem: watch::Sender<Option<Arc<PlanFileError>>>,
    _dir: TempDir,
    _running: DropGuard,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(Arc::new(Store::open(&dir.path().join("e.db")).unwrap()));
        let scheduler = Scheduler::new(Arc::new(Told), Arc::new(records.clone()), Arc::new(Standstill));
        let (problem, said) = watch::channel(None);
        let state = Schedules {
            timetable: scheduler.timetable(),
            problem: said,
        };
        let stopping = CancellationToken::new();
        let schedules = Plan::from_toml(PLAN).unwrap().schedules;
        // The sender may go: schedules then stay as they are.
        let schedules = watch::channel(schedules).1;
        tokio::spawn(scheduler.run(schedules, stopping.clone()));
        Self {
            router: routes().with_state(state),
            records,
            problem,
            _dir: dir,
            _running: stopping.drop_guard(),
        }
    }

    async fn ask(&self, method: &str, path: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn list(&self) -> Value {
        let (status, list) = self.ask("GET", "/schedules").await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list
    }

    async fn schedule(&self, name: &str) -> Value {
        let list = self.list().await;
        let all = list["schedules"].as_array().unwrap();
        all.iter().find(|it| it["name"] == name).unwrap().clone()
    }
}

#[tokio::test]
async fn schedules_are_told_with_their_next_run_and_its_fate() {
    let site = Site::new();
    let list = site.list().await;
    assert_eq!(list["problems"], json!([]));
    assert_eq!(list["schedules"].as_array().unwrap().len(), 3);
    let nightly = site.schedule("nightly / all").await;
    assert_eq!(
        (&nightly["calendar"], &nightly["zone"]),
        (&json!("02:30"), &json!("Europe/Berlin"))
    );
    let due = "2026-12-01T01:30:00Z";
    let next = json!({"due": due, "begins": due, "fate": "begin", "blackout_until": null});
    assert_eq!(nightly["next"], next);
    assert_eq!((&nightly["runs"], &nightly["missed"]), (&json!([]), &json!([])));
    let (due, until) = ("2026-11-30T09:00:00Z", "2026-11-30T18:00:00Z");
    let deferred = json!({"due": due, "begins": until, "fate": "defer", "blackout_until": until});
    assert_eq!(site.schedule("slow").await["next"], deferred);
    let skipped = json!({"due": due, "begins": due, "fate": "skip", "blackout_until": until});
    assert_eq!(site.schedule("skips").await["next"], skipped);
}

#[tokio::test]
async fn one_that_is_begun_by_hand_tells_each_machine_and_is_on_record() {
    let site = Site::new();
    let (status, ran) = site.ask("POST", "/schedules/nightly%20%2F%20all/run").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{ran}");
    let job = "job-20261130-070000";
    let vms = json!([
        {"vm": "web", "start": "started", "job": job},
        {"vm": "busy", "start": "busy", "job": job},
        {"vm": "gone", "start": "refused", "why": "there is no `gone`"},
    ]);
    assert_eq!(
        (&ran["outcome"], &ran["selections"][0]["vms"]),
        (&json!("begun"), &vms)
    );
    let nightly = site.schedule("nightly / all").await;
    let told = &nightly["runs"][0];
    assert_eq!(
        (&told["begun_by"], &told["outcome"], &told["at"]),
        (&json!("person"), &json!("begun"), &json!("2026-11-30T07:00:00Z"))
    );
    assert_eq!(told["selections"], ran["selections"]);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_something_to_do() {
    let site = Site::new();
    let (status, problem) = site.ask("POST", "/schedules/nobody/run").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("schedule_not_found"))
    );
    assert!(problem["hint"].as_str().unwrap().len() > 10, "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_long_is_not_waited_for_and_not_begun_twice() {
    let site = Site::new();
    let (status, ran) = site.ask("POST", "/schedules/slow/run").await;
    assert_eq!((status.as_u16(), &ran["outcome"]), (202, &json!("starting")));
    assert!(ran["selections"].is_null());
    let (status, problem) = site.ask("POST", "/schedules/slow/run").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("schedule_being_started"))
    );
}

#[tokio::test]
async fn what_was_missed_and_what_is_wrong_with_the_file_is_told() {
    let site = Site::new();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let missed = Missed {
        first: at("2026-11-28T01:30:00Z"),
        last: at("2026-11-30T01:30:00Z"),
        runs: 3,
    };
    site.records.missed("nightly / all", &missed).unwrap();
    let nightly = site.schedule("nightly / all").await;
    assert_eq!(nightly["missed"][0]["runs"], json!(3));
    assert_eq!(nightly["missed"][0]["first"], json!("2026-11-28T01:30:00Z"));
    let wrong = Plan::from_toml(&PLAN.replace("02:30", "25:00").replace("09:00", "9 am")).unwrap_err();
    let wrong = PlanFileError::Wrong {
        path: "schedules.toml".into(),
        source: wrong,
    };
    site.problem.send_replace(Some(Arc::new(wrong)));
    let list = site.list().await;
    assert_eq!(list["problems"].as_array().unwrap().len(), 3, "{list}");
    assert!(
        list["problems"][0]
            .as_str()
            .unwrap()
            .starts_with("schedule.nightly / all.calendar: ")
    );
    assert_eq!(
        list["schedules"].as_array().unwrap().len(),
        3,
        "the plan before stays"
    );
}
