//! Secrets go nowhere: each has a value that is found again, and everything that the processes wrote is searched for it.
//!
//! Every way in which a secret comes in is used: files of credentials, passwords and tokens, a private key, a caller's own password
//! to discovery, addresses with passwords. What happens includes what goes wrong: wrong passwords, a cloud whose errors repeat the
//! request, addresses that lead nowhere. Logs are at their most talkative.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use whole_system_tests::cloudstack::Fault;
use whole_system_tests::{CloudSite, binary, plain_http, volumectl};

use super::support::{Secrets, Site, bytes};

/// Where secrets are allowed to be: the files that they come from.
const ORIGINS: [&str; 6] = [
    "credentials.toml",
    "password",
    "worker.token",
    "token",
    "worker-key.pem",
    "wrong-password",
];

/// What must not be found, by what it is.
type Canaries = BTreeMap<&'static str, String>;

fn canary(name: &str) -> String {
    format!("canary-{name}-{}", uuid::Uuid::new_v4().simple())
}

/// The names of those that a text holds.
fn singing<'c>(canaries: &'c Canaries, content: &[u8]) -> Vec<&'c str> {
    let text = String::from_utf8_lossy(content);
    canaries
        .iter()
        .filter(|(_, value)| text.contains(&**value))
        .map(|(name, _)| *name)
        .collect()
}

#[test]
fn a_canary_is_heard() {
    let canaries = Canaries::from([("password", "canary-1".to_owned())]);
    assert_eq!(singing(&canaries, b"a log with canary-1 in it"), ["password"]);
    assert!(singing(&canaries, b"a log").is_empty());
}

/// All files below a folder but the origins.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = entry.file_name().to_string_lossy().into_owned();
        match kind.is_dir() {
            // What guests wrote.
            true if name == "primary-storage" => {}
            true => files(&path, found),
            false if kind.is_file() && !ORIGINS.contains(&&*name) => found.push(path),
            false => {}
        }
    }
}

/// What a process shows to whoever may look: its arguments, and, of those that we start, its environment.
fn shown_by(pid: u32, of_a_child: bool) -> Vec<u8> {
    let mut shown = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if of_a_child {
        shown.extend(fs::read(format!("/proc/{pid}/environ")).unwrap_or_default());
    }
    shown
}

/// The descendants of a process, and whoever has its folder in its arguments: servers are nobody's children.
fn started_by(folder: &Path, parents: &[u32]) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let folder = folder.to_str().unwrap();
    ids.filter(|id| !parents.contains(id) && *id != std::process::id())
        .filter(|id| String::from_utf8_lossy(&shown_by(*id, false)).contains(folder))
        .collect()
}

struct Scene {
    site: Site,
    canaries: Canaries,
    /// What was answered and printed.
    heard: Vec<(String, Vec<u8>)>,
}

impl Scene {
    fn hear(&mut self, what: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.heard.push((what.into(), content.into()));
    }

    /// What everybody who may ask is answered.
    async fn ask_everything(&mut self) {
        let socket = self.site.appliance.setup.socket.clone();
        for arguments in [
            &["status", "--json"][..],
            &["operations", "list", "--json"],
            &["audit", "--json"],
            &["findings", "--json"],
            &["doctor", "--json"],
            &["leases", "--json"],
        ] {
            let outcome = volumectl(&socket, arguments);
            self.hear(
                format!("volumectl {arguments:?}"),
                outcome.stdout + &outcome.stderr,
            );
        }
        self.hear(
            "metrics of the daemon",
            self.site.appliance.client().metrics().await.unwrap(),
        );
        for path in ["/replications", "/sources", "/transfers", "/schedules"] {
            let (_, answer) = self.site.ask(Method::GET, path, None).await;
            self.hear(path, answer.to_string());
        }
        let token = fs::read_to_string(self.site.file("token")).unwrap();
        let metrics = plain_http()
            .get(format!("{}/metrics", self.site.api))
            .bearer_auth(token.trim());
        self.hear(
            "metrics of the engine",
            metrics.send().await.unwrap().text().await.unwrap(),
        );
        self.bundle(&socket);
    }

    fn bundle(&mut self, socket: &Path) {
        let (file, token) = (self.site.file("bundle.tar.gz"), self.site.file("token"));
        let outcome = volumectl(
            socket,
            [
                "support-bundle".as_ref(),
                "--output".as_ref(),
                file.as_os_str(),
                "--engine-url".as_ref(),
                self.site.api.as_ref(),
                "--engine-token-file".as_ref(),
                token.as_os_str(),
                "--engine-config".as_ref(),
                self.site.appliance.dir().as_os_str(),
                "--log-file".as_ref(),
                self.site.file("service.log").as_os_str(),
                "--log-file".as_ref(),
                self.site.file("log").as_os_str(),
            ],
        );
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let mut whole = Vec::new();
        GzDecoder::new(fs::File::open(&file).unwrap())
            .read_to_end(&mut whole)
            .unwrap();
        assert!(whole.windows(13).any(|window| window == b"manifest.json"));
        self.hear("support bundle", whole);
        self.hear("volumectl support-bundle", outcome.stdout + &outcome.stderr);
    }

    /// Everything in which one sings: where, and which.
    fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        let mut search = |what: &str, content: &[u8]| {
            leaks.extend(
                singing(&self.canaries, content)
                    .iter()
                    .map(|name| format!("{name} in {what}")),
            );
        };
        for (what, content) in &self.heard {
            search(what, content);
        }
        let mut paths = Vec::new();
        files(self.site.appliance.dir(), &mut paths);
        assert!(
            paths.iter().any(|path| path.ends_with("v.db")) && paths.len() > 5,
            "{paths:?}"
        );
        for path in paths {
            search(&path.display().to_string(), &fs::read(&path).unwrap_or_default());
        }
        leaks
    }

    fn search_processes(&mut self) {
        let mut own = self.site.pids();
        own.push(self.site.appliance.pid());
        for pid in &own {
            self.hear(format!("arguments of {pid}"), shown_by(*pid, false));
        }
        for pid in started_by(self.site.appliance.dir(), &own) {
            self.hear(
                format!("arguments and environment of child {pid}"),
                shown_by(pid, true),
            );
        }
    }
}

/// A site on which everything is at its most talkative, with canaries for secrets.
async fn scene() -> Option<(Scene, CloudParts)> {
    let mut cloud = CloudSite::new().await?;
    let proxy = canary("proxy");
    let through = format!("http://joe:{proxy}@127.0.0.1:9/");
    cloud.daemon.setup.environment.extend([
        ("VOLUMED_LOG_LEVEL", "trace".to_owned()),
        ("RUST_BACKTRACE", "1".to_owned()),
        ("HTTPS_PROXY", through.clone()),
        ("HTTP_PROXY", through.clone()),
    ]);
    cloud.daemon.start().await;
    let CloudSite {
        daemon,
        cloud,
        hypervisor,
    } = cloud;
    let secrets = Secrets {
        password: canary("password"),
        worker_token: canary("worker-token"),
    };
    let environment = vec![
        ("MIGRATE_ENGINE_LOG", "trace".to_owned()),
        ("RUST_BACKTRACE", "1".to_owned()),
        ("HTTPS_PROXY", through.clone()),
        ("HTTP_PROXY", through),
    ];
    let canaries = Canaries::from([
        ("api key", cloud.api_key()),
        ("secret key", cloud.secret_key()),
        ("password", secrets.password.clone()),
        ("worker token", secrets.worker_token.clone()),
        ("proxy password", proxy),
        ("wrong password", canary("wrong")),
        ("password in an address", canary("address")),
    ]);
    let simulator = ["-password", &secrets.password.clone()];
    let site = Site::with_worker_beside(daemon, &simulator, &[], secrets, environment).await;
    let mut scene = Scene {
        site,
        canaries,
        heard: Vec::new(),
    };
    let read = |name: &str| fs::read_to_string(scene.site.file(name)).unwrap();
    let (token, key) = (read("token"), read("worker-key.pem"));
    scene
        .canaries
        .insert("the service's token", token.trim().to_owned());
    // A line of its base64.
    scene
        .canaries
        .insert("private key", key.lines().nth(1).unwrap().to_owned());
    Some((scene, (cloud, hypervisor)))
}

type CloudParts = (
    whole_system_tests::cloudstack::CloudStackServer,
    std::sync::Arc<whole_system_tests::LoopHypervisor>,
);

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_the_processes_write() {
    let Some((mut scene, (cloud, hypervisor))) = scene().await else {
        return;
    };
    let vm = scene.site.machines().await.remove(0);
    scene
        .site
        .vcenter
        .write(vm["id"].as_str().unwrap(), 512, &bytes(1, 2_000_000));
    // The cloud's errors repeat all that it was asked, and more.
    let echo = format!(
        "cannot do command=attachVolume&apiKey={}&signature=abc&secretkey={}: try again",
        cloud.api_key(),
        cloud.secret_key()
    );
    cloud
        .faults()
        .next("attachVolume", Fault::FailInJob(530, echo.clone()));
    cloud.faults().next("attachVolume", Fault::Unauthorised);
    cloud.faults().next("createVolume", Fault::FailInJob(431, echo));
    let job = scene.site.submit(&vm).await;
    scene.site.exporter_or_end(&job).await;
    scene.search_processes();
    let mut ended = scene.site.ended(&job).await;
    for _ in 0..3 {
        scene.hear("a job", ended.to_string());
        if ended["status"] == "completed" {
            break;
        }
        ended = scene.site.ended(&scene.site.submit(&vm).await).await;
    }
    assert_eq!(
        (&ended["status"], cloud.faults().armed()),
        (&json!("completed"), 0),
        "{ended:#}"
    );

    what_goes_wrong(&mut scene, &vm).await;
    scene.ask_everything().await;
    scene.search_processes();
    // The write-ahead logs go with the processes: what is in them counts, too.
    assert_eq!(scene.leaks(), Vec::<String>::new());
    dies_without_a_dump(&mut scene).await;
    assert_eq!(scene.leaks(), Vec::<String>::new());
    // The search finds what is there.
    fs::write(
        scene.site.file("planted.log"),
        format!("GET /?apiKey={}", cloud.api_key()),
    )
    .unwrap();
    assert_eq!(scene.leaks().len(), 1, "a planted leak is found");
    drop((scene, cloud, hypervisor));
}

/// Wrong passwords, tokens that are none, addresses that lead nowhere with a password in them.
async fn what_goes_wrong(scene: &mut Scene, vm: &serde_json::Value) {
    let wrong = scene.canaries["wrong password"].clone();
    let body = json!({"vcenter": scene.site.vcenter.host, "username": "somebody", "password": wrong});
    let (status, refused) = scene.site.discover(&body).await;
    assert!(!status.is_success(), "{refused}");
    scene.hear("a refused login", refused.to_string());
    // An answer of discovery that does not parse is told with care.
    let (_, refused) = scene
        .site
        .discover(&json!({"vcenter": 7, "password": wrong}))
        .await;
    scene.hear("a refused request", refused.to_string());
    let answer = plain_http()
        .get(format!("{}/api/v1/replications", scene.site.api))
        .bearer_auth(&wrong)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    scene.hear("a wrong token", answer.text().await.unwrap());
    let secret = scene.canaries["password in an address"].clone();
    for address in [
        format!("nbd://joe:{secret}@127.0.0.1:9/x"),
        format!("nbds://joe:{secret}@127.0.0.1:9/x?tls-certificates=/nowhere"),
        format!("https://joe:{secret}@127.0.0.1:9/x?X-Amz-Signature={secret}"),
    ] {
        let mut copy = Command::new(binary("migrate-engine"));
        copy.args(["copy", &address, "--volumed-socket"])
            .arg(&scene.site.appliance.setup.socket);
        copy.arg("--database")
            .arg(scene.site.file("copy.db"))
            .arg("--runtime-dir")
            .arg(scene.site.file("copy-r"));
        copy.arg("--json-report").arg(scene.site.file("copy.json"));
        let output = copy.env("MIGRATE_ENGINE_LOG", "trace").output().unwrap();
        assert!(!output.status.success(), "{address}: {output:?}");
        scene.hear(
            format!("a copy from {}", &address[..8]),
            [output.stdout, output.stderr].concat(),
        );
    }
    // A password that is no longer right, found out in the middle.
    let id = vm["id"].as_str().unwrap();
    scene.site.vcenter.write(id, 4096, b"changed");
}

/// A process that dies of a fault of its own leaves no memory behind.
async fn dies_without_a_dump(scene: &mut Scene) {
    use std::os::unix::process::ExitStatusExt;

    let limits = fs::read_to_string(format!("/proc/{}/limits", scene.site.appliance.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("1"), "{core}");
    for pid in scene.site.pids() {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("1"), "{core}");
    }
    // A SIGSEGV that is only sent is taken by the runtime's own handler first.
    scene.site.appliance.signal(Signal::ABORT);
    let status = scene.site.appliance.ended().await;
    assert_eq!(
        (status.signal(), status.core_dumped()),
        (Some(libc::SIGABRT), false)
    );
}
