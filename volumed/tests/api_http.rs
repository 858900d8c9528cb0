//! The API over the daemon's real inside: store, operations, loop devices.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at what it does not expect"
)]

#[path = "api_http/access.rs"]
mod access;
mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::{Place, Running, VM};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use volume_client::types::{CheckArea, CheckStatus, DoctorReport};
use volumed::api::{self, Access, Api, DoctorSource, openapi};
use volumed::auth::Policy;
use volumed::cloud::{Call, NewVolume};
use volumed::doctor::{Doctor, Doors};
use volumed::metrics::Metrics;
use volumed::model::{Bytes, VolumeId};
use volumed::reconcile::{self, Bounds, Reconciler};
use volumed::store::StoreError;
use volumed::store::volumes::{NewRow, insert};

/// Examines as the daemon does.
fn examiner(place: &Place, running: &Running) -> DoctorSource {
    let doctor = Doctor {
        cloud: Arc::clone(&place.cloud),
        feed: running.feed.clone(),
        database: place.dir.path().join("volumed.db"),
        doors: Doors {
            addresses: vec!["127.0.0.1:8090".parse().unwrap()],
            ..Doors::default()
        },
    };
    Arc::new(move || {
        let doctor = doctor.clone();
        Box::pin(async move { doctor.examine().await })
    })
}

/// Compares the views as the daemon does, but only when it is asked to, and without giving anything time.
fn reconciler(place: &Place, running: &Running) -> Arc<Reconciler> {
    Reconciler::new(reconcile::Parts {
        store: running.store.clone(),
        cloud: Arc::clone(&place.cloud),
        feed: running.feed.clone(),
        machine: Arc::new(volumed::device::KernelMachine::default()),
        operations: running.operations.clone(),
        bounds: Bounds {
            orphan: SignedDuration::ZERO,
            stuck: SignedDuration::ZERO,
            uses: SignedDuration::ZERO,
            uses_every: SignedDuration::ZERO,
        },
        timer: Duration::from_secs(3600),
    })
}

/// A daemon's API without a socket.
struct Daemon {
    api: Api,
    router: Router,
    running: Running,
    stopping: CancellationToken,
    place: Place,
}

impl Daemon {
    async fn start() -> Option<Self> {
        let place = Place::new()?;
        let running = place.start().await;
        let stopping = CancellationToken::new();
        let api = Api {
            store: running.store.clone(),
            operations: running.operations.clone(),
            metrics: Metrics::new(),
            reconciler: reconciler(&place, &running),
            doctor: examiner(&place, &running),
            stopping: stopping.clone(),
            started_at: Timestamp::now(),
        };
        Some(Self {
            api: api.clone(),
            router: api::router(api, Bytes::MIB, Access::new(Policy::default(), 100_000)),
            running,
            stopping,
            place,
        })
    }

    async fn send(&self, request: Request<Body>) -> axum::response::Response {
        let answer = self.router.clone().oneshot(request);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
        answer.expect("an answer within a minute").unwrap()
    }

    async fn ask(&self, method: &str, path: &str, key: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let response = self.send(request.body(body).unwrap()).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    /// Asks for an operation, waits for it, and returns it completed.
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, operation) = self.ask(method, path, None, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{method} {path}: {operation}");
        assert_eq!(operation["status"], "completed", "{operation}");
        operation
    }

    /// Asks for what must be refused with this code.
    async fn refused(&self, method: &str, path: &str, body: Value, code: &str) -> Value {
        let (status, problem) = self.ask(method, path, None, body).await;
        assert_eq!(problem["code"], code, "{method} {path}: {status} {problem}");
        assert_eq!(problem["status"], status.as_u16());
        problem
    }

    async fn create(&self, name: &str) -> String {
        let body = json!({ "name": name, "size_bytes": 1_000_000 });
        let operation = self.done("POST", "/api/v1/volumes?wait=60", body).await;
        operation["volume_id"].as_str().unwrap().to_owned()
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_lives_its_life_over_http() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let id = daemon.create("disk 1").await;
    let volume = format!("/api/v1/volumes/{id}");
    let fresh = daemon.get(&volume).await;
    assert_eq!(
        (&fresh["state"], &fresh["known_zero"]),
        (&json!("available"), &json!(true))
    );

    daemon
        .refused("GET", &format!("{volume}/device"), Value::Null, "not_attached")
        .await;
    let other = json!({ "vm_id": "another" });
    daemon
        .refused("POST", &format!("{volume}/attach"), other, "foreign_vm")
        .await;
    let vm = json!({ "vm_id": VM });
    let attach = daemon
        .done("POST", &format!("{volume}/attach?wait=60"), vm.clone())
        .await;
    assert!(attach["steps"].as_array().unwrap().len() >= 8, "{attach}");
    daemon
        .refused("POST", &format!("{volume}/attach"), vm, "already_attached")
        .await;

    let device = daemon.get(&format!("{volume}/device")).await;
    assert_eq!(device["device_path"], attach["response"]["device_path"]);
    let mapping = &daemon.get("/api/v1/mappings").await["items"][0];
    assert_eq!(
        (&mapping["vm_id"], &mapping["pinned"]),
        (&json!(VM), &json!(true))
    );
    let devices = daemon.get("/api/v1/devices").await;
    let ours = devices["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["volume_id"] == id.as_str());
    assert_eq!(ours.unwrap()["device_path"], device["device_path"]);
    let seen = daemon.get(&volume).await;
    assert_eq!(
        (&seen["handed_out"], &seen["known_zero"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(seen["attachment"]["generation"], 1);

    daemon
        .done("POST", &format!("{volume}/detach?wait=60"), json!({}))
        .await;
    daemon
        .refused("DELETE", &volume, Value::Null, "confirmation_required")
        .await;
    daemon
        .done(
            "DELETE",
            &format!("{volume}?wait=60&confirm_name=disk%201"),
            Value::Null,
        )
        .await;
    daemon
        .refused("GET", &volume, Value::Null, "volume_not_found")
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_taken_renewed_and_given_back() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let id = daemon.create("a").await;
    let volume = format!("/api/v1/volumes/{id}");
    daemon
        .done(
            "POST",
            &format!("{volume}/attach?wait=60"),
            json!({ "vm_id": VM }),
        )
        .await;
    let new = json!({ "volume_id": id, "purpose": "transfer", "access": "write", "holder": "a test" });
    let (status, grant) = daemon
        .ask("POST", "/api/v1/leases", Some("l1"), new.clone())
        .await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    assert_eq!(grant["device"]["volume_id"], id.as_str());
    assert_eq!(grant["lease"]["expired"], false);
    let (_, again) = daemon
        .ask("POST", "/api/v1/leases", Some("l1"), new.clone())
        .await;
    assert_eq!(again["lease"]["id"], grant["lease"]["id"]);
    daemon
        .refused("POST", "/api/v1/leases", new, "volume_leased")
        .await;
    daemon
        .refused("POST", &format!("{volume}/detach"), Value::Null, "volume_leased")
        .await;

    let lease = format!("/api/v1/leases/{}", grant["lease"]["id"].as_str().unwrap());
    let renew = json!({ "ttl_seconds": 600 });
    let (status, renewed) = daemon
        .ask("POST", &format!("{lease}/renew"), Some("r1"), renew)
        .await;
    assert_eq!(status, StatusCode::OK, "{renewed}");
    let expiry = |lease: &Value| {
        lease["expires_at"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    assert!(expiry(&renewed) > expiry(&grant["lease"]));
    let (_, problem) = daemon
        .ask("POST", &format!("{lease}/renew"), Some("r1"), Value::Null)
        .await;
    assert_eq!(problem["code"], "idempotency_key_reused", "{problem}");
    let bad = json!({ "ttl_seconds": 4 });
    daemon
        .refused("POST", &format!("{lease}/renew"), bad, "invalid_request")
        .await;

    for _ in 0..2 {
        let (status, _) = daemon.ask("DELETE", &lease, None, Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    daemon
        .refused("GET", &lease, Value::Null, "lease_not_found")
        .await;
    daemon
        .refused("POST", &format!("{lease}/renew"), Value::Null, "lease_not_found")
        .await;
    assert_eq!(daemon.get("/api/v1/leases").await, json!({ "items": [] }));
    daemon
        .done("POST", &format!("{volume}/detach?wait=60"), Value::Null)
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_taken_put_back_and_deleted() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let id = daemon.create("a").await;
    let snapshots = format!("/api/v1/volumes/{id}/snapshots");
    daemon
        .done(
            "POST",
            &format!("{snapshots}?wait=60"),
            json!({ "name": "before" }),
        )
        .await;
    let listed = daemon.get(&snapshots).await;
    assert_eq!(listed["items"][0]["state"], "ready");
    let snapshot = format!("{snapshots}/{}", listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(daemon.get(&snapshot).await["name"], "before");
    let elsewhere = snapshot.replace(&id, &daemon.create("b").await);
    daemon
        .refused("GET", &elsewhere, Value::Null, "snapshot_not_found")
        .await;
    daemon
        .refused(
            "POST",
            &format!("{elsewhere}/revert"),
            Value::Null,
            "snapshot_not_found",
        )
        .await;
    daemon
        .done("POST", &format!("{snapshot}/revert?wait=60"), Value::Null)
        .await;
    daemon
        .done("DELETE", &format!("{snapshot}?wait=60"), Value::Null)
        .await;
    daemon
        .refused("GET", &snapshot, Value::Null, "snapshot_not_found")
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_with_the_same_key_is_the_same_operation() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let create = |size: u64| json!({ "name": "a", "size_bytes": size });
    let (_, first) = daemon
        .ask("POST", "/api/v1/volumes?wait=60", Some("k"), create(4096))
        .await;
    let (status, again) = daemon
        .ask("POST", "/api/v1/volumes", Some("k"), create(4096))
        .await;
    assert_eq!((status, &again["id"]), (StatusCode::ACCEPTED, &first["id"]));
    let (status, problem) = daemon
        .ask("POST", "/api/v1/volumes", Some("k"), create(8192))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["code"], "idempotency_key_reused");
    let cancel = format!("/api/v1/operations/{}/cancel", first["id"].as_str().unwrap());
    let (_, problem) = daemon.ask("POST", &cancel, Some("k"), Value::Null).await;
    assert_eq!(problem["code"], "idempotency_key_reused");
    daemon
        .refused("POST", &cancel, Value::Null, "not_cancellable")
        .await;
    assert_eq!(
        daemon.get("/api/v1/volumes").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_described_is_there() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let document = serde_json::to_value(openapi::document()).unwrap();
    let (id, mut tried) = (VolumeId::new().to_string(), 0);
    for (pattern, methods) in document["paths"].as_object().unwrap() {
        let names = ["{volume_id}", "{snapshot_id}", "{operation_id}", "{lease_id}"];
        let path = names
            .iter()
            .fold(pattern.clone(), |path, name| path.replace(name, &id));
        for (method, description) in methods.as_object().unwrap() {
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path);
            let response = daemon.send(request.body(Body::empty()).unwrap()).await;
            let status = response.status().as_u16().to_string();
            let described = description["responses"].get(&status);
            assert!(
                described.is_some(),
                "{method} {path} answers {status}, which is not described"
            );
            if response
                .headers()
                .get("content-type")
                .is_some_and(|kind| kind == "application/problem+json")
            {
                let bytes = response.into_body().collect().await.unwrap().to_bytes();
                let problem: Value = serde_json::from_slice(&bytes).unwrap();
                let code = format!("`{}`", problem["code"].as_str().unwrap());
                let about = described.unwrap()["description"].as_str().unwrap();
                assert!(about.contains(&code), "{method} {path}: {code} is not in {about}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 30, "only {tried}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_fields_are_refused_by_name() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let id = VolumeId::new();
    let volume = format!("/api/v1/volumes/{id}");
    let lease = |holder: &str| json!({ "volume_id": id, "purpose": "export", "access": "read", "holder": holder, "ttl_seconds": 60 });
    let cases = [
        (
            "/api/v1/volumes",
            json!({ "name": "a/b", "size_bytes": 1 }),
            "`name`",
        ),
        (
            "/api/v1/volumes",
            json!({ "name": "a", "size_bytes": 0 }),
            "`size_bytes`",
        ),
        (
            "/api/v1/volumes",
            json!({ "name": "a", "size_bytes": u64::MAX }),
            "`size_bytes`",
        ),
        (
            "/api/v1/volumes",
            json!({ "name": "a", "size_bytes": 1, "source": { "vm": "", "disk": "d" } }),
            "`source.vm`",
        ),
        (&format!("{volume}/attach"), json!({ "vm_id": "" }), "`vm_id`"),
        (
            &format!("{volume}/resize"),
            json!({ "size_bytes": 0 }),
            "`size_bytes`",
        ),
        (&format!("{volume}/snapshots"), json!({ "name": "" }), "`name`"),
        ("/api/v1/leases", lease("a\nb"), "`holder`"),
    ];
    for (path, body, named) in cases {
        let problem = daemon.refused("POST", path, body, "invalid_request").await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{path}: {detail}");
    }
    for query in ["limit=0", "limit=1001", "cursor=x", "state=gone", "colour=red"] {
        let path = format!("/api/v1/volumes?{query}");
        daemon.refused("GET", &path, Value::Null, "invalid_request").await;
    }
    let unknown = json!({ "vm_id": VM });
    daemon
        .refused("POST", &format!("{volume}/attach"), unknown, "volume_not_found")
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_the_page_before_ended() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    for name in ["a", "b", "c", "d", "e"] {
        let record = daemon.running.store.write(move |tx| {
            let row = NewRow {
                name,
                size: Bytes(4096),
                source: None,
            };
            insert(tx, VolumeId::new(), "local", &row)?;
            Ok::<_, StoreError>(())
        });
        record.await.unwrap();
    }
    let (mut names, mut path) = (String::new(), "/api/v1/volumes?limit=2".to_owned());
    loop {
        let page = daemon.get(&path).await;
        for item in page["items"].as_array().unwrap() {
            names.push_str(item["name"].as_str().unwrap());
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/volumes?limit=2&cursor={cursor}");
    }
    assert_eq!(names, "abcde");
    let filtered = daemon.get("/api/v1/volumes?state=creating&name=c").await;
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_after_the_last_one_seen_and_end_with_the_daemon() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    daemon.create("a").await;
    let request = |last: &str| {
        let request = Request::builder()
            .uri("/api/v1/events?after=0")
            .header("last-event-id", last);
        request.body(Body::empty()).unwrap()
    };
    let response = daemon.send(request("1")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("completed") {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame())
            .await
            .unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    let ids: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .map(|id| id.parse().unwrap())
        .collect();
    let expected: Vec<u64> = (2..).take(ids.len()).collect();
    assert_eq!(ids, expected, "events are missing or repeated");
    daemon.stopping.cancel();
    let end = tokio::time::timeout(Duration::from_secs(30), body.collect()).await;
    assert!(end.is_ok(), "the stream goes on though the daemon stops");
    assert_eq!(
        daemon.send(request("x")).await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_tells_how_it_stands() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    daemon.create("a").await;
    let readiness = daemon.get("/readyz").await;
    let names: Vec<_> = readiness["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["store", "cloud", "watcher", "recovery"]);
    let status = daemon.get("/api/v1/status").await;
    assert_eq!(
        (&status["vm_id"], &status["counts"]["volumes"]),
        (&json!(VM), &json!(1))
    );
    let operations = daemon
        .get("/api/v1/operations?type=create&status=completed")
        .await;
    assert_eq!(operations["items"].as_array().unwrap().len(), 1);
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let bytes = daemon
        .send(request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        text.contains(r#"route="/api/v1/status",method="GET",status="200"} 1"#),
        "{text}"
    );

    daemon.running.store.close().await;
    let (status, problem) = daemon
        .ask(
            "POST",
            "/api/v1/volumes",
            None,
            json!({ "name": "b", "size_bytes": 1 }),
        )
        .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["code"], "not_ready");
    daemon.stop().await;
}

#[tokio::test]
async fn an_examination_covers_every_area_and_changes_nothing() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let (_, before) = daemon.ask("GET", "/api/v1/status", None, Value::Null).await;
    let (status, report) = daemon.ask("GET", "/api/v1/doctor", None, Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let report: DoctorReport = serde_json::from_value(report).unwrap();
    let has = |area: CheckArea, name: &str| {
        let mut checks = report.checks.iter();
        let found = checks.find(|check| check.area == area && check.name == name);
        found
            .unwrap_or_else(|| panic!("no check `{name}` of {area:?} in {report:#?}"))
            .clone()
    };
    for name in ["store", "cloud", "watcher", "recovery"] {
        let check = has(CheckArea::Daemon, name);
        assert_eq!(check.status, CheckStatus::Passed, "{check:?}");
    }
    assert_eq!(has(CheckArea::Daemon, "loopback").status, CheckStatus::Warning);
    for name in ["loop devices", "root"] {
        let check = has(CheckArea::Cloud, name);
        assert_eq!(check.status, CheckStatus::Passed, "{check:?}");
    }
    for name in [
        "device events",
        "device scans",
        "serial twins",
        "udev links",
        "udevd",
        "diskseq",
    ] {
        has(CheckArea::Devices, name);
    }
    for name in ["privileges", "clock", "free space"] {
        has(CheckArea::Host, name);
    }
    for check in &report.checks {
        assert_eq!(
            check.advice.is_some(),
            check.status != CheckStatus::Passed,
            "{check:?}"
        );
    }
    let (_, after) = daemon.ask("GET", "/api/v1/status", None, Value::Null).await;
    assert_eq!(before["counts"], after["counts"]);
}

/// A volume that somebody made and attached here without the daemon; its id in the cloud.
async fn stray(daemon: &Daemon) -> String {
    let call = || Call {
        id: uuid::Uuid::new_v4().to_string(),
    };
    let spec = NewVolume {
        name: "theirs".into(),
        size: Bytes::MIB,
    };
    let cloud = &daemon.place.cloud;
    let made = cloud.create_volume(&call(), &spec).await.unwrap();
    cloud.attach(&call(), &made.provider_ref, VM).await.unwrap();
    made.provider_ref
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_shown_passed_over_and_mended_over_http() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let theirs = stray(&daemon).await;
    assert_eq!(daemon.get("/api/v1/findings").await["items"], json!([]));
    let (status, report) = daemon
        .ask("POST", "/api/v1/reconcile", None, json!({ "dry_run": true }))
        .await;
    assert_eq!(status, StatusCode::OK, "{report}");
    assert_eq!(
        (&report["dry_run"], &report["cloud_answered"], &report["repairs"]),
        (&json!(true), &json!(true), &json!([]))
    );
    let findings = daemon.get("/api/v1/findings").await;
    let finding = &findings["items"][0];
    assert_eq!(
        (
            &finding["type"],
            &finding["provider_volume_id"],
            &finding["proposal"]
        ),
        (&json!("attached_unknown"), &json!(theirs), &json!("adopt"))
    );
    let address = format!("/api/v1/findings/{}", finding["id"].as_str().unwrap());
    assert_eq!(&daemon.get(&address).await, finding);

    let refused = daemon
        .refused("POST", &format!("{address}/repair"), json!({}), "person_needed")
        .await;
    assert!(
        refused["hint"].as_str().unwrap().contains("orphans adopt"),
        "{refused}"
    );
    let ignore = format!("{address}/ignore");
    for why in ["", " ", &"x".repeat(501)] {
        daemon
            .refused("POST", &ignore, json!({ "why": why }), "invalid_request")
            .await;
    }
    for _ in 0..2 {
        let (status, marked) = daemon
            .ask(
                "POST",
                &ignore,
                Some("ignored once"),
                json!({ "why": "a test disk" }),
            )
            .await;
        assert_eq!(status, StatusCode::OK, "{marked}");
        assert_eq!(marked["ignored"]["why"], "a test disk");
    }
    let listed = daemon.get("/api/v1/findings").await;
    assert_eq!(listed["items"][0]["ignored"]["why"], "a test disk");
    for _ in 0..2 {
        let (status, _) = daemon.ask("DELETE", &ignore, None, Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let (status, _) = daemon
        .ask("DELETE", &ignore, Some("ignored once"), Value::Null)
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "the key is another's");
    daemon
        .refused(
            "GET",
            "/api/v1/findings/000000000000",
            Value::Null,
            "finding_not_found",
        )
        .await;
    daemon
        .refused(
            "GET",
            "/api/v1/findings/..%2fetc",
            Value::Null,
            "finding_not_found",
        )
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_the_cloud_is_adopted_explained_and_audited_over_http() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let theirs = stray(&daemon).await;
    let adopt = "/api/v1/volumes/adopt?wait=60";
    let body = |of: &str, name: &str| json!({ "provider_volume_id": of, "name": name });
    daemon
        .refused("POST", adopt, body(&theirs, "a/b"), "invalid_request")
        .await;
    let unknown = uuid::Uuid::new_v4().to_string();
    daemon
        .refused("POST", adopt, body(&unknown, "x"), "provider_volume_not_found")
        .await;
    daemon
        .refused("POST", adopt, body("../../etc", "x"), "provider_volume_not_found")
        .await;
    let operation = daemon.done("POST", adopt, body(&theirs, "adopted")).await;
    assert_eq!(
        (&operation["type"], &operation["request"]),
        (&json!("adopt"), &body(&theirs, "adopted"))
    );
    assert!(operation["response"]["device_path"].is_string(), "{operation}");
    daemon
        .refused("POST", adopt, body(&theirs, "again"), "already_recorded")
        .await;

    let id = operation["volume_id"].as_str().unwrap();
    let explained = daemon.get(&format!("/api/v1/volumes/{id}/explain")).await;
    assert_eq!(
        (
            &explained["volume"]["id"],
            &explained["cloud"],
            &explained["used_by"]
        ),
        (&json!(id), &json!("attached here"), &json!([]))
    );
    assert!(
        explained["record"]
            .as_str()
            .unwrap()
            .starts_with("in_use, bound to /dev/")
    );
    assert!(explained["kernel"].as_str().unwrap().ends_with("as bound"));
    assert!(
        explained["next"].as_str().unwrap().starts_with("nothing: "),
        "{explained}"
    );
    assert_eq!(explained["operation"]["id"], operation["id"]);
    assert!(explained["operation"]["steps"].as_array().unwrap().len() >= 12);
    let missing = format!("/api/v1/volumes/{}/explain", VolumeId::new());
    daemon
        .refused("GET", &missing, Value::Null, "volume_not_found")
        .await;

    let other = daemon.create("other").await;
    let audit = daemon.get(&format!("/api/v1/audit?volume_id={id}")).await;
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["bind", "adopt"], "newest first");
    assert_eq!(audit["items"][1]["operation_id"], operation["id"]);
    let first = daemon.get("/api/v1/audit?limit=1").await;
    assert_eq!(first["items"][0]["volume_id"], other);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = daemon
        .get(&format!("/api/v1/audit?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(second["items"][0]["action"], "bind");
    daemon
        .refused("GET", "/api/v1/audit?cursor=x", Value::Null, "invalid_request")
        .await;
    daemon
        .done("POST", &format!("/api/v1/volumes/{id}/detach?wait=60"), json!({}))
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_attached_is_taken_over_by_mending_its_finding() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let id = daemon.create("disk").await;
    let of = daemon.get(&format!("/api/v1/volumes/{id}")).await["provider_volume_id"].clone();
    let call = Call {
        id: uuid::Uuid::new_v4().to_string(),
    };
    let cloud = &daemon.place.cloud;
    cloud.attach(&call, of.as_str().unwrap(), VM).await.unwrap();
    let look = async || daemon.ask("POST", "/api/v1/reconcile", None, json!({})).await.1;
    let report = look().await;
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["type"], &finding["volume_id"], &finding["proposal"]),
        (&json!("attached_unknown"), &json!(id), &json!("attach")),
        "{report}"
    );
    let repair = format!(
        "/api/v1/findings/{}/repair?wait=60",
        finding["id"].as_str().unwrap()
    );
    // Not shown before it has stood for a moment.
    let asked = async || daemon.ask("POST", &repair, Some("mend once"), json!({})).await;
    let (status, started) = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match asked().await {
                (StatusCode::NOT_FOUND, _) => tokio::time::sleep(Duration::from_millis(100)).await,
                answer => return answer,
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    assert_eq!(
        (&started["repair"], &started["operation"]["status"]),
        (&json!("attach"), &json!("completed"))
    );
    look().await;
    assert_eq!(daemon.get("/api/v1/findings").await["items"], json!([]));
    // The finding is gone, and the same key still leads to what was done about it.
    let (status, again) = asked().await;
    assert_eq!(status, StatusCode::ACCEPTED, "{again}");
    assert_eq!(again["operation"]["id"], started["operation"]["id"]);
    daemon
        .done("POST", &format!("/api/v1/volumes/{id}/detach?wait=60"), json!({}))
        .await;
    daemon.stop().await;
}
