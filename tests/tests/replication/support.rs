//! The service beside a daemon and a vCenter of its own; and that nothing is left.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::line::Wire;
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use volume_client::client::VolumeFilter;
use volume_client::types::{Cursor, Volume, VolumeState};
use whole_system_tests::{
    Appliance, VCENTER_PASSWORD, VCENTER_USER, Vcenter, binary, plain_http, wait_until,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const MIB: u64 = 1 << 20;
const BUFFER: &str = "3MiB";

/// A daemon, a vCenter, and the service between them.
pub(crate) struct Site {
    pub(crate) appliance: Appliance,
    pub(crate) vcenter: Vcenter,
    service: Option<Child>,
    /// The process beside the source, and the port where the service hears it; where there is one.
    worker: Option<Child>,
    worker_port: Option<u16>,
    /// What the worker reaches the service through.
    pub(crate) wire: Option<Wire>,
    arguments: Vec<String>,
    /// What service and worker have in their environment beside the usual.
    environment: Vec<(&'static str, String)>,
    secrets: Secrets,
    pub(crate) api: String,
    pub(crate) discovery: String,
}

/// What only those may know whom it is told.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    /// The vCenter's password.
    pub(crate) password: String,
    /// The worker's token.
    pub(crate) worker_token: String,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            password: VCENTER_PASSWORD.to_owned(),
            worker_token: "a token for the tests' worker".to_owned(),
        }
    }
}

impl Site {
    /// All of it, with options of the simulator and arguments of the service. `None`, loudly, where this is not root.
    pub(crate) async fn started(simulator: &[&str], arguments: &[&str]) -> Option<Self> {
        let appliance = Appliance::started().await?;
        let site = Self::beside(
            appliance,
            simulator,
            arguments,
            None,
            Secrets::default(),
            Vec::new(),
        );
        Some(site.await)
    }

    /// The same with a worker beside the vCenter, which alone can reach it.
    pub(crate) async fn with_worker(simulator: &[&str], arguments: &[&str]) -> Option<Self> {
        let appliance = Appliance::started().await?;
        let (secrets, environment) = (Secrets::default(), Vec::new());
        Some(Self::with_worker_beside(appliance, simulator, arguments, secrets, environment).await)
    }

    /// The same beside a daemon that runs already, with other secrets and more in the environment.
    pub(crate) async fn with_worker_beside(
        appliance: Appliance,
        simulator: &[&str],
        arguments: &[&str],
        secrets: Secrets,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        // Kept by nobody until the service takes it: it must be the same after a restart.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut site = Self::beside(appliance, simulator, arguments, Some(port), secrets, environment).await;
        site.wire = Some(Wire::to(port).await);
        site.start_worker().await;
        site
    }

    async fn beside(
        appliance: Appliance,
        simulator: &[&str],
        arguments: &[&str],
        worker_port: Option<u16>,
        secrets: Secrets,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let vcenter = Vcenter::start(simulator);
        let mut site = Self {
            appliance,
            vcenter,
            service: None,
            worker: None,
            worker_port,
            wire: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment,
            secrets,
            api: String::new(),
            discovery: String::new(),
        };
        site.write_sources(&site.secrets.password);
        site.start().await;
        site
    }

    /// Writes how the vCenter is reached.
    pub(crate) fn write_sources(&self, password: &str) {
        let file = self.file("password");
        fs::write(&file, password).unwrap();
        let text = format!(
            "[[vsphere]]\nhost = \"{}\"\nusername = \"{VCENTER_USER}\"\npassword_file = \"{}\"\nfingerprint = \"{}\"\n",
            self.vcenter.host,
            file.display(),
            self.vcenter.fingerprint
        );
        if self.worker_port.is_none() {
            return fs::write(self.file("sources.toml"), text).unwrap();
        }
        fs::write(self.file("worker-sources.toml"), text).unwrap();
        fs::write(
            self.file("worker.token"),
            format!("{}\n", self.secrets.worker_token),
        )
        .unwrap();
        let behind = format!(
            "[[worker]]\nname = \"beside\"\ntoken_file = \"worker.token\"\nsources = [\"{}\"]\n",
            self.vcenter.host
        );
        fs::write(self.file("sources.toml"), behind).unwrap();
    }

    /// Starts the worker, and waits until the service has heard it.
    pub(crate) async fn start_worker(&mut self) {
        let before = self.worker_said().len();
        self.worker = Some(self.worker_command("worker.log", &[]).spawn().unwrap());
        let discovery = wait_until("the worker", PATIENCE, async || {
            let said = self.worker_said().split_off(before);
            said.contains("connected to the service").then_some(())?;
            let rest = said.split_once("discovery: ")?.1;
            rest.split_once('\n').map(|(line, _)| line.to_owned())
        })
        .await;
        self.discovery = discovery;
    }

    /// What starts a worker, with other values than usual of some arguments.
    fn worker_command(&self, log: &str, others: &[(&str, &str)]) -> Command {
        let said = self.said();
        let print = said.rsplit_once("from elsewhere are to believe: ").unwrap().1;
        let print = print.split_once('\n').unwrap().0;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.file(log))
            .unwrap();
        let path = |name: &str| self.file(name).display().to_string();
        let mut command = Command::new(binary("migrate-engine"));
        command.arg("worker");
        let service = format!("https://127.0.0.1:{}", self.wire.as_ref().unwrap().port);
        for (name, usual) in [
            ("--service", service.as_str()),
            ("--fingerprint", print),
            ("--token-file", &path("worker.token")),
            ("--sources", &path("worker-sources.toml")),
            ("--runtime-dir", &path("w")),
            ("--discovery-listen", "127.0.0.1:0"),
        ] {
            let other = others.iter().find(|(other, _)| *other == name);
            command.args([name, other.map_or(usual, |(_, value)| value)]);
        }
        command
            .env("MIGRATE_ENGINE_LOG", "info")
            .env("TMPDIR", self.appliance.dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// What the worker said so far.
    pub(crate) fn worker_said(&self) -> String {
        fs::read_to_string(self.file("worker.log")).unwrap_or_default()
    }

    /// That another worker with these arguments says `words`.
    pub(crate) async fn other_worker_says(&self, words: &str, others: &[(&str, &str)]) {
        let log = self.file("other.log");
        let _ = fs::remove_file(&log);
        let mut other = self.worker_command("other.log", others).spawn().unwrap();
        let heard = wait_until(words, PATIENCE, async || {
            let said = fs::read_to_string(&log).unwrap();
            if said.contains(words) {
                return Some(Ok(()));
            }
            other.try_wait().unwrap().map(|_| Err(said))
        })
        .await;
        let _ = other.kill();
        let _ = other.wait();
        heard.unwrap();
    }

    /// Ends the worker by a signal.
    pub(crate) fn end_worker(&mut self, signal: Signal) {
        let mut child = self.worker.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.appliance.dir().join(name)
    }

    /// The same with other arguments than before.
    pub(crate) async fn start_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.start().await;
    }

    /// Starts the service, and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("service.log"))
            .unwrap();
        let before = self.said().len();
        self.service = Some(self.command(log).spawn().unwrap());
        let (api, found) = wait_until("the service", PATIENCE, async || {
            let said = self.said().split_off(before);
            let after = |word: &str| {
                let rest = said.split_once(word)?.1;
                rest.split_once('\n').map(|(line, _)| line.to_owned())
            };
            Some((after("replications: ")?, after("discovery: ")?))
        })
        .await;
        self.api = api;
        if self.worker.is_none() {
            self.discovery = found;
        }
    }

    fn command(&self, log: fs::File) -> Command {
        let path = |name: &str| self.file(name).display().to_string();
        let mut command = Command::new(binary("migrate-engine"));
        command
            .arg("serve")
            .arg("--volumed-socket")
            .arg(&self.appliance.setup.socket)
            .args(["--listen", "127.0.0.1:0", "--discovery-listen", "127.0.0.1:0"])
            .args(["--database", &path("e.db"), "--runtime-dir", &path("r")])
            .args(["--sources", &path("sources.toml"), "--token-file", &path("token")])
            .args(["--schedules", &path("schedules.toml")])
            .args([
                "--nbd-listen",
                &path("nbd.sock"),
                "--buffer",
                BUFFER,
                "--retry-pause",
                "1",
            ])
            .args(self.worker_arguments())
            .args(&self.arguments)
            .env_remove("VOLUMED_SOCKET")
            .env_remove("VOLUMED_URL")
            .env("MIGRATE_ENGINE_LOG", "info")
            // What a killed service leaves there goes with this place.
            .env("TMPDIR", self.appliance.dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn worker_arguments(&self) -> Vec<String> {
        let Some(port) = self.worker_port else {
            return Vec::new();
        };
        let file = |name: &str| self.file(name).display().to_string();
        let listen = format!("127.0.0.1:{port}");
        let (certificate, key) = (file("worker-cert.pem"), file("worker-key.pem"));
        let arguments = [
            "--worker-listen",
            &listen,
            "--certificate",
            &certificate,
            "--key",
            &key,
            "--worker-silence",
            "3",
        ];
        arguments.map(str::to_owned).to_vec()
    }

    /// What a second service on the same database says; it must fail.
    pub(crate) async fn second_service_says(&self) -> String {
        let log = self.file("second.log");
        let mut second = self.command(fs::File::create(&log).unwrap()).spawn().unwrap();
        let status = wait_until("the second service", PATIENCE, async || {
            second.try_wait().unwrap()
        })
        .await;
        assert!(!status.success());
        fs::read_to_string(log).unwrap()
    }

    /// Has the service read its files anew, and waits until it has said `words` of it.
    pub(crate) async fn hang_up(&self, words: &str) {
        let before = self.said().len();
        let service = self.service.as_ref().unwrap();
        kill_process(Pid::from_child(service), Signal::HUP).unwrap();
        wait_until(words, PATIENCE, async || {
            self.said()[before..].contains(words).then_some(())
        })
        .await;
    }

    /// What the service said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.file("service.log")).unwrap_or_default()
    }

    /// Sends the service a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.service.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Ends the service by a signal.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let mut child = self.service.take().unwrap();
        child.wait().unwrap();
    }

    /// Asks the API of replications.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let token = fs::read_to_string(self.file("token")).unwrap();
        let request = plain_http()
            .request(method, format!("{}/api/v1{path}", self.api))
            .bearer_auth(token.trim());
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The process ids of service and worker.
    pub(crate) fn pids(&self) -> Vec<u32> {
        [&self.service, &self.worker]
            .into_iter()
            .flatten()
            .map(Child::id)
            .collect()
    }

    /// The machines, by the API of discovery.
    pub(crate) async fn discover(&self, body: &Value) -> (StatusCode, Value) {
        let answer = plain_http()
            .post(format!("{}/api/v1/discover", self.discovery))
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status();
        (
            status,
            serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
        )
    }

    /// What asks for all machines.
    pub(crate) fn everything(&self) -> Value {
        json!({"vcenter": self.vcenter.host, "username": VCENTER_USER, "password": self.secrets.password})
    }

    pub(crate) async fn machines(&self) -> Vec<Value> {
        let (status, found) = self.discover(&self.everything()).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        found["vms"].as_array().unwrap().clone()
    }

    /// What asks for a replication.
    pub(crate) fn request(&self, vm: &Value) -> Value {
        json!({
            "source_vm": {"id": vm["id"], "name": vm["name"], "path": vm["path"]},
            "vcenter_host": self.vcenter.host,
            "ossea_config_id": 1,
        })
    }

    /// Asks for a replication, which must be taken. Returns its id.
    pub(crate) async fn submit(&self, vm: &Value) -> String {
        let (status, job) = self
            .ask(Method::POST, "/replications", Some(&self.request(vm)))
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    /// The job when it has ended.
    pub(crate) async fn ended(&self, job: &str) -> Value {
        wait_until(&format!("{job} to end"), PATIENCE, async || {
            let (status, job) = self
                .ask(Method::GET, &format!("/replications/{job}?wait=5"), None)
                .await;
            assert_eq!(status, StatusCode::OK, "{job}");
            let is_over = !matches!(job["status"].as_str(), Some("pending" | "running"));
            is_over.then_some(job)
        })
        .await
    }

    /// Replicates, which must succeed.
    pub(crate) async fn replicated(&self, vm: &Value) -> Value {
        let job = self.ended(&self.submit(vm).await).await;
        assert_eq!(job["status"], "completed", "{job:#}\n{}", self.said());
        job
    }

    /// Waits until a job has an exporter, or is over.
    pub(crate) async fn exporter_or_end(&self, job: &str) {
        wait_until(&format!("an exporter of {job}"), PATIENCE, async || {
            let (_, job) = self.ask(Method::GET, &format!("/replications/{job}"), None).await;
            let is_over = !matches!(job["status"].as_str(), Some("pending" | "running"));
            (is_over || !self.exporters().is_empty()).then_some(())
        })
        .await;
    }

    /// Kills the NBD servers; returns how many there were.
    pub(crate) fn kill_exporters(&self) -> usize {
        let kill = |id: &Pid| kill_process(*id, Signal::KILL).is_ok();
        self.exporters().iter().filter(|id| kill(id)).count()
    }

    fn exporters(&self) -> Vec<Pid> {
        let dir = self.appliance.dir().display().to_string();
        let found = Command::new("pgrep")
            .args(["-f", &format!("qemu-storage-daemon.*{dir}")])
            .output()
            .unwrap();
        let ids = String::from_utf8_lossy(&found.stdout).into_owned();
        ids.lines()
            .filter_map(|line| Pid::from_raw(line.trim().parse().ok()?))
            .collect()
    }

    /// That the volume of the machine's first disk holds what its guest sees.
    pub(crate) async fn assert_equal(&self, vm: &Value, job: &Value) {
        let volume = job["disks"][0]["volume_id"].as_str().unwrap().parse().unwrap();
        let expected = self.vcenter.disk(vm["id"].as_str().unwrap());
        let attached = self.appliance.attach(volume).await;
        let found = fs::read(&attached.device_path).unwrap();
        self.appliance.detach(volume).await;
        assert!(found.len() > expected.len());
        assert!(found[..expected.len()] == expected[..], "{} differs", vm["name"]);
        assert!(
            found[expected.len()..].iter().all(|byte| *byte == 0),
            "the tail is not zero"
        );
    }

    /// No snapshot, export, lease, attached volume or device.
    pub(crate) async fn assert_nothing_left(&self) {
        for vm in self.machines().await {
            let left = self.vcenter.snapshots(vm["id"].as_str().unwrap());
            assert_eq!(left, Vec::<String>::new(), "{}", vm["name"]);
        }
        let client = self.appliance.client();
        let volumes = client
            .list_volumes(&VolumeFilter::default(), &Cursor::default())
            .await;
        for volume in volumes.unwrap().items {
            let Volume { state, .. } = &volume;
            assert_eq!(*state, VolumeState::Available, "{volume:#?}");
        }
        let leases = client.list_leases(&Cursor::default()).await;
        assert_eq!(leases.unwrap().items, []);
        assert_eq!(self.appliance.loops(), Vec::<String>::new());
        let records = rusqlite::Connection::open(self.file("e.db")).unwrap();
        let sql = "SELECT count(*) FROM nbd_exports WHERE withdrawn_at IS NULL";
        let exports: i64 = records.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(exports, 0);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for mut process in [self.service.take(), self.worker.take()].into_iter().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Servers outlive who started them, and would outlive a test that fails.
        self.kill_exporters();
    }
}

/// Bytes that tell where they were written, and when.
pub(crate) fn bytes(seed: u64, length: u64) -> Vec<u8> {
    let length = usize::try_from(length).unwrap();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(next());
    }
    bytes.truncate(length);
    bytes
}
