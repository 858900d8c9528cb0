//! A scripted management server: answers what it was told to, checks every signature, and keeps what it was asked.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "test support")]

pub(crate) mod tls;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha1::Sha1;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use volumed::cloud::{Call, CloudStack};
use volumed::config::CloudStack as Settings;

pub(crate) const API_KEY: &str = "plgWJfZK4gyS3mOMTVmjUVg-X";
pub(crate) const SECRET_KEY: &str = "VDaACYb0LV9eNjTetIOElcVQkvJck_J";
pub(crate) const VOLUME: &str = "8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10";
pub(crate) const VM: &str = "5c1f0d7a-2f1e-4e0a-9f64-0c7a1b2d3e4f";
pub(crate) const OTHER_VM: &str = "5c1f0d7a-2f1e-4e0a-9f64-0c7a1b2d3e50";
pub(crate) const ZONE: &str = "8dca85c3-1d3f-482b-aa7c-562be2bdf05c";
pub(crate) const OFFERING: &str = "cbccf460-a250-4b39-aa42-3e1c0af45bfe";
pub(crate) const GIB: u64 = 1 << 30;

/// The parameters of a request.
pub(crate) type Asked = BTreeMap<String, String>;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// The content of the command's envelope.
    Content(Value),
    /// An error in the command's envelope, with its HTTP status.
    Error(u16, &'static str),
    /// That there is nothing of the id that was asked for.
    UnknownId,
    /// Status, content type and body.
    Raw(u16, &'static str, String),
    /// None, ever.
    Silence,
}

#[derive(Default)]
struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<(String, Asked)>,
    wrong: Vec<String>,
    clock_ahead: SignedDuration,
}

/// A management server on the loopback.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) settings: Settings,
    script: Arc<Mutex<Script>>,
    _keys: TempDir,
    task: Option<AbortOnDropHandle<()>>,
}

impl Server {
    /// Starts one that knows a zone `z1` and a custom disk offering `Custom`.
    pub(crate) async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/client/api", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script::default()));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let keys = keys();
        let mut settings = Settings::new(&url, "z1", "Custom");
        settings.credentials_file = Some(keys.path().join("keys"));
        settings.poll_interval = Duration::from_millis(20);
        settings.request_timeout = Duration::from_secs(2);
        settings.vm_id = Some(VM.to_owned());
        let server = Server {
            url,
            settings,
            script,
            _keys: keys,
            task: Some(AbortOnDropHandle::new(serving)),
        };
        server.say(
            "listCapabilities",
            [content(
                json!({"capability": {"cloudstackversion": "4.20.1.0", "customdiskofferingminsize": 1,
                "customdiskofferingmaxsize": 64, "kvmsnapshotenabled": true}}),
            )],
        );
        server.say("listZones", [list("zone", [json!({"id": ZONE, "name": "z1"})])]);
        let offering = json!({"id": OFFERING, "name": "Custom", "iscustomized": true});
        server.say("listDiskOfferings", [list("diskoffering", [offering])]);
        server.say(
            "createTags",
            [content(json!({"jobid": "a0a0a0a0-0000-4000-8000-000000000000"}))],
        );
        server.say(
            "queryAsyncJobResult a0a0a0a0-0000-4000-8000-000000000000",
            [job(1, json!({"success": true}))],
        );
        server.say("listVolumes by virtualmachineid", [empty()]);
        server.say("listVolumes by tags[0].key", [empty()]);
        server.say("listSnapshots", [empty()]);
        server.say(
            "listHypervisorCapabilities",
            [Reply::Error(401, "unable to verify")],
        );
        server
    }

    /// What is answered to a command, one after the other; the last is answered for ever. Lists of volumes are told apart by
    /// what they are asked by (`listVolumes by id`), jobs by their id.
    pub(crate) fn say(&self, command: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.script.lock().replies.insert(command.to_owned(), replies);
    }

    /// Sets the server's clock, which shows in its answers and by which signatures expire.
    pub(crate) fn set_clock_ahead(&self, ahead: SignedDuration) {
        self.script.lock().clock_ahead = ahead;
    }

    /// What a command was asked with, each time.
    pub(crate) fn asked(&self, command: &str) -> Vec<Asked> {
        let script = self.script.lock();
        let of_it = script.asked.iter().filter(|(key, _)| key == command);
        of_it.map(|(_, asked)| asked.clone()).collect()
    }

    /// How often each command was sent that changes something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let script = self.script.lock();
        let changes = script
            .asked
            .iter()
            .filter(|(key, _)| !key.starts_with("list") && !key.starts_with("query"));
        changes
            .map(|(key, _)| key.clone())
            .filter(|key| key != "createTags")
            .collect()
    }

    /// What the server did not like, which a test then has dealt with.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().wrong)
    }

    /// Ends it: nobody listens any more.
    pub(crate) async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    pub(crate) async fn cloud(&self) -> CloudStack {
        CloudStack::open(self.settings.clone())
            .await
            .expect("opening the provider")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let wrong = self.take_wrong();
        if !std::thread::panicking() {
            assert!(wrong.is_empty(), "the server did not like: {wrong:?}");
        }
    }
}

/// A directory with a file `keys`.
pub(crate) fn keys() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(
        &file,
        format!("api_key = \"{API_KEY}\"\nsecret_key = \"{SECRET_KEY}\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

pub(crate) fn call() -> Call {
    Call {
        id: uuid::Uuid::new_v4().to_string(),
    }
}

pub(crate) fn content(value: Value) -> Reply {
    Reply::Content(value)
}

pub(crate) fn empty() -> Reply {
    Reply::Content(json!({}))
}

pub(crate) fn list<const N: usize>(key: &str, entries: [Value; N]) -> Reply {
    content(json!({"count": N, key: Vec::from(entries)}))
}

pub(crate) fn job(status: u8, result: Value) -> Reply {
    content(
        json!({"jobstatus": status, "jobprocstatus": 0, "jobresultcode": 0, "jobresulttype": "object", "jobresult": result}),
    )
}

pub(crate) fn pending() -> Reply {
    content(json!({"jobstatus": 0, "jobprocstatus": 0, "jobresultcode": 0,
        "cmd": "org.apache.cloudstack.api.command.user.volume.AttachVolumeCmd"}))
}

pub(crate) fn failed(code: u16, text: &str) -> Reply {
    content(
        json!({"jobstatus": 2, "jobprocstatus": 0, "jobresultcode": 530, "jobresulttype": "object",
        "jobresult": {"errorcode": code, "errortext": text}}),
    )
}

/// A job that was cut off: it has no result.
pub(crate) fn cut_off() -> Reply {
    content(json!({"jobstatus": 2, "jobprocstatus": 0, "jobresultcode": 530}))
}

pub(crate) fn unknown_id() -> Reply {
    Reply::UnknownId
}

/// A volume of one GiB, with these fields besides.
pub(crate) fn volume(fields: Value) -> Value {
    let mut volume =
        json!({"id": VOLUME, "name": "ours", "type": "DATADISK", "state": "Ready", "size": GIB, "tags": []});
    for (key, value) in fields.as_object().unwrap() {
        volume[key] = value.clone();
    }
    volume
}

pub(crate) fn one_volume(fields: Value) -> Reply {
    list("volume", [volume(fields)])
}

pub(crate) fn attached_to(vm: &str) -> Reply {
    one_volume(json!({"virtualmachineid": vm, "deviceid": 4}))
}

pub(crate) fn detached() -> Reply {
    one_volume(json!({}))
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let url = request.uri().to_string();
    let method = request.method().clone();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut asked = decoded(std::str::from_utf8(&body).unwrap());
    let command = asked["command"].clone();
    let (reply, ahead) = {
        let mut script = script.lock();
        let ahead = script.clock_ahead;
        if method != "POST" || url != "/client/api" {
            script.wrong.push(format!("{method} {url}"));
        }
        let is_good = is_signed(&mut asked, ahead);
        if let Err(why) = &is_good {
            script.wrong.push(format!("{command}: {why}"));
        }
        let key = key_of(&command, &asked);
        script.asked.push((key.clone(), asked.clone()));
        let reply = match script.replies.get_mut(&key) {
            Some(replies) if replies.len() > 1 => replies.pop_front(),
            Some(replies) => replies.front().cloned(),
            None => None,
        };
        let reply = match (is_good, reply) {
            (Err(_), _) => Reply::Error(401, "unable to verify user credentials and/or request signature"),
            (Ok(()), Some(reply)) => reply,
            (Ok(()), None) if key.starts_with("queryAsyncJobResult") => unknown_id(),
            (Ok(()), None) => {
                script.wrong.push(format!("nobody said what to answer to {key}"));
                Reply::Error(432, "unknown command")
            }
        };
        (reply, ahead)
    };
    respond(&command, reply, &asked, ahead).await
}

async fn respond(command: &str, reply: Reply, asked: &Asked, ahead: SignedDuration) -> Response {
    let envelope = format!("{}response", command.to_lowercase());
    let (status, kind, body) = match reply {
        Reply::Silence => std::future::pending().await,
        Reply::Content(mut value) => {
            if value["jobid"] == "ours" {
                value["jobid"] = json!(asked["customjobid"]);
            }
            (
                200,
                "application/json; charset=UTF-8",
                json!({envelope: value}).to_string(),
            )
        }
        Reply::UnknownId => {
            let parameters = ["jobid", "virtualmachineid", "volumeid", "id"];
            let named = parameters
                .into_iter()
                .find(|name| asked.contains_key(*name))
                .unwrap();
            let text = format!(
                "Invalid parameter {named} value={} due to incorrect long value format, or entity does not exist or due to …",
                asked[named]
            );
            let error = json!({"uuidList": [], "errorcode": 431, "cserrorcode": 9999, "errortext": text});
            (
                431,
                "application/json; charset=UTF-8",
                json!({envelope: error}).to_string(),
            )
        }
        Reply::Error(code, text) => {
            let error = json!({"uuidList": [], "errorcode": code, "cserrorcode": 4350, "errortext": text});
            (
                code,
                "application/json; charset=UTF-8",
                json!({envelope: error}).to_string(),
            )
        }
        Reply::Raw(status, kind, body) => (status, kind, body),
    };
    let now = Timestamp::now() + ahead;
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, kind)
        .header(
            header::DATE,
            now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        )
        .body(Body::from(body))
        .unwrap()
}

fn key_of(command: &str, asked: &Asked) -> String {
    match command {
        "listVolumes" => ["id", "name", "virtualmachineid", "tags[0].key"]
            .into_iter()
            .find(|by| asked.contains_key(*by))
            .map_or(command.to_owned(), |by| format!("{command} by {by}")),
        "queryAsyncJobResult" => format!("{command} {}", asked["jobid"]),
        _ => command.to_owned(),
    }
}

/// Checks the signature as the server does, written anew from its rules, and takes it off.
fn is_signed(asked: &mut Asked, ahead: SignedDuration) -> Result<(), String> {
    let signature = asked.remove("signature").ok_or("no signature")?;
    if let Some(name) = asked.keys().find(|name| name.chars().any(char::is_uppercase)) {
        return Err(format!("{name} is not in lower case"));
    }
    if (
        asked["apikey"].as_str(),
        asked["signatureversion"].as_str(),
        asked["response"].as_str(),
    ) != (API_KEY, "3", "json")
    {
        return Err("wrong key, version or form".to_owned());
    }
    let expires: Timestamp = asked["expires"].parse().map_err(|e| format!("expires: {e}"))?;
    let left = expires.duration_since(Timestamp::now() + ahead);
    if left.is_negative() || left > SignedDuration::from_mins(15) {
        return Err(format!("it expires in {left:#}"));
    }
    let pairs: Vec<_> = asked
        .iter()
        .map(|(name, value)| format!("{name}={}", as_java(value)))
        .collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET_KEY.as_bytes()).unwrap();
    mac.update(pairs.join("&").to_lowercase().as_bytes());
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    if signature == expected {
        Ok(())
    } else {
        Err("wrong signature".to_owned())
    }
}

fn as_java(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "*-._".contains(c);
    let mut text = String::new();
    for c in value.chars() {
        if plain(c) {
            text.push(c);
        } else {
            text.extend(c.to_string().bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    text
}

fn decoded(form: &str) -> Asked {
    let text = |part: &str| {
        let (mut bytes, mut rest) = (Vec::new(), part.bytes());
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (text(name), text(value))).collect()
}
