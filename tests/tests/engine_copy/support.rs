//! The engine beside a daemon of its own: started, watched, stopped, killed; and that nothing is left.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use volume_client::client::VolumeFilter;
use volume_client::types::{Cursor, Volume, VolumeState};
use whole_system_tests::{Appliance, binary, wait_until};

/// How long an engine may take: machines that run everything at once are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The buffer that tests use, small for their speed.
pub(crate) const BUFFER: u64 = 3 << 20;

/// A daemon, and a place for engines beside it.
pub(crate) struct Bench {
    pub(crate) appliance: Appliance,
}

/// An engine that runs; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    dir: PathBuf,
}

/// How an engine ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Its JSON report; null where it wrote none.
    pub(crate) report: Value,
}

impl Bench {
    /// A daemon that is ready; `None`, loudly, where this is not root.
    pub(crate) async fn started() -> Option<Self> {
        let appliance = Appliance::started().await?;
        Some(Self::beside(appliance))
    }

    /// A place beside this daemon.
    pub(crate) fn beside(appliance: Appliance) -> Self {
        for folder in ["images", "scratch"] {
            fs::create_dir(appliance.dir().join(folder)).unwrap();
        }
        Self { appliance }
    }

    /// Where a file of the test is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.appliance.dir().join("images").join(name)
    }

    /// The engines' runtime directory.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.appliance.dir().join("r")
    }

    /// Starts an engine's copy of sources, with further arguments; `name` tells several apart.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Running {
        let dir = self.appliance.dir();
        let scratch = dir.join("scratch").display().to_string();
        let report = dir
            .join(format!("engine-{name}/report.json"))
            .display()
            .to_string();
        let buffer = BUFFER.to_string();
        let mut all = vec!["--scratch-dir", &scratch, "--json-report", &report];
        all.extend(arguments);
        if !arguments.contains(&"--buffer") {
            all.extend(["--buffer", &buffer]);
        }
        self.start_command(name, "copy", &all)
    }

    /// Starts an engine with a command and its arguments; `name` tells several apart.
    pub(crate) fn start_command(&self, name: &str, command: &str, arguments: &[&str]) -> Running {
        let dir = self.appliance.dir().join(format!("engine-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let log = |file: &str| Stdio::from(fs::File::create(dir.join(file)).unwrap());
        let mut engine = Command::new(binary("migrate-engine"));
        let child = engine
            .arg(command)
            .arg("--volumed-socket")
            .arg(&self.appliance.setup.socket)
            .arg("--database")
            .arg(self.appliance.dir().join("e.db"))
            .arg("--runtime-dir")
            .arg(self.runtime_dir())
            .args(arguments)
            .env_remove("VOLUMED_SOCKET")
            .env_remove("VOLUMED_URL")
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .expect("the engine can be started");
        Running { child, dir }
    }

    /// Runs an engine to its end.
    pub(crate) async fn copy(&self, arguments: &[&str]) -> Ended {
        self.start("one", arguments).ended().await
    }

    /// Runs an engine that must succeed, and checks that nothing is left.
    pub(crate) async fn copied(&self, arguments: &[&str]) -> Ended {
        let ended = self.copy(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.report["outcome"], "completed");
        self.assert_nothing_left().await;
        ended
    }

    /// Runs an engine that must fail with one clear error that says `words`, and checks that nothing is left.
    pub(crate) async fn refused(&self, arguments: &[&str], words: &str) -> Ended {
        let ended = self.copy(arguments).await;
        ended.assert_failed(words);
        self.assert_nothing_left().await;
        ended
    }

    /// The volumes that there are.
    pub(crate) async fn volumes(&self) -> Vec<Volume> {
        let (client, filter) = (self.appliance.client(), VolumeFilter::default());
        let page = client.list_volumes(&filter, &Cursor::default()).await;
        page.unwrap().items
    }

    /// The only volume that there is.
    pub(crate) async fn volume(&self) -> Volume {
        let mut volumes = self.volumes().await;
        assert_eq!(volumes.len(), 1, "{volumes:#?}");
        volumes.remove(0)
    }

    /// No volume attached, no lease, no loop device, no process, no temporary file.
    pub(crate) async fn assert_nothing_left(&self) {
        for volume in self.volumes().await {
            assert_eq!(volume.state, VolumeState::Available, "{volume:#?}");
        }
        let leases = self.appliance.client().list_leases(&Cursor::default()).await;
        assert_eq!(leases.unwrap().items, []);
        assert_eq!(self.appliance.loops(), Vec::<String>::new());
        assert_eq!(self.processes(), Vec::<String>::new());
        self.assert_no_files_left();
    }

    /// The arguments by which `exporter` serves on this place's own socket, with all of its files in this place.
    pub(crate) fn served_by(&self, exporter: &str) -> Vec<String> {
        let dir = self.appliance.dir();
        let inside = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(dir.join("nbd")).unwrap();
        let pairs = [
            ("--nbd-listen", "nbd.sock"),
            ("--nbd-server-config", "nbd/config-base"),
            ("--nbd-server-exports", "nbd/export.d"),
            ("--nbd-server-nodes", "nbd/nodes"),
        ];
        let arguments = pairs
            .into_iter()
            .flat_map(|(flag, name)| [flag.to_owned(), inside(name)]);
        arguments
            .chain(["--exporter".to_owned(), exporter.to_owned()])
            .collect()
    }

    /// How many exports are recorded, and how many of them as withdrawn.
    pub(crate) fn recorded_exports(&self) -> (i64, i64) {
        let database = rusqlite::Connection::open(self.appliance.dir().join("e.db")).unwrap();
        let sql = "SELECT count(*), count(withdrawn_at) FROM nbd_exports";
        database
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    }

    /// No file of an engine that has ended.
    pub(crate) fn assert_no_files_left(&self) {
        let scratch = self.appliance.dir().join("scratch");
        assert_eq!(
            fs::read_dir(&scratch).unwrap().count(),
            0,
            "{}",
            scratch.display()
        );
        assert_eq!(self.runs(), Vec::<PathBuf>::new());
    }

    /// The folders of runs.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.runtime_dir()) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("run-"))
            .collect()
    }

    /// The NBD servers that work for engines of this place.
    pub(crate) fn processes(&self) -> Vec<String> {
        let dir = self.appliance.dir().to_str().unwrap().to_owned();
        let ids = fs::read_dir("/proc").unwrap().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let words = |id: u32| {
            let words = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            Some(format!(
                "{id} {}",
                String::from_utf8_lossy(&words).replace('\0', " ")
            ))
        };
        ids.filter_map(words)
            .filter(|words| words.contains(&dir) && (words.contains("nbd") || words.contains("qemu")))
            .filter(|words| !words.contains("migrate-engine ") && !words.contains("volumed serve"))
            // Somebody else's server is a test's own.
            .filter(|words| !words.contains(" -x there "))
            .collect()
    }

    /// Sends SIGKILL to the server whose command line has `word`, and to all of its children.
    pub(crate) fn kill_servers(&self, word: &str) {
        let servers = self.processes();
        let servers: Vec<_> = servers.iter().filter(|words| words.contains(word)).collect();
        assert!(!servers.is_empty(), "no {word}");
        for server in servers {
            let id: i32 = server.split(' ').next().unwrap().parse().unwrap();
            // A child may have ended by itself.
            let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
        }
    }

    /// Sends SIGKILL to the server whose command line has `word`.
    pub(crate) fn kill_server(&self, word: &str) {
        let servers = self.processes();
        let server = servers.iter().find(|words| words.contains(word));
        let server = server.unwrap_or_else(|| panic!("no {word}: {servers:#?}"));
        let id: i32 = server.split(' ').next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    }

    /// That the volume begins with the bytes of `raw`, and is zero from there on.
    pub(crate) async fn assert_holds(&self, volume: &Volume, raw: &Path) {
        let expected = fs::read(raw).unwrap();
        let attached = self.appliance.attach(volume.id).await;
        let found = fs::read(&attached.device_path).unwrap();
        self.appliance.detach(volume.id).await;
        assert_eq!(found.len() as u64, volume.size_bytes);
        assert!(
            found[..expected.len()] == expected[..],
            "{} differs",
            raw.display()
        );
        assert!(
            found[expected.len()..].iter().all(|byte| *byte == 0),
            "the tail is not zero"
        );
    }
}

impl Drop for Bench {
    /// Servers outlive who started them, and would outlive a test that fails.
    fn drop(&mut self) {
        for server in self.processes() {
            let id = server
                .split(' ')
                .next()
                .and_then(|id| Pid::from_raw(id.parse().ok()?));
            let _ = id.map(|id| kill_process(id, Signal::KILL));
        }
    }
}

impl Running {
    /// Sends the engine a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.dir.join("stdout")).unwrap()
    }

    /// Waits until it has said `words`.
    pub(crate) async fn says(&mut self, words: &str) {
        wait_until(&format!("the engine to say `{words}`"), PATIENCE, async || {
            let said = self.said();
            if said.contains(words) {
                return Some(());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) without `{words}`: {said}");
            None
        })
        .await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = wait_until("the engine to end", PATIENCE, async || {
            self.child.try_wait().unwrap()
        })
        .await;
        let read = |file: &str| fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        Ended {
            code: status.code(),
            stdout: read("stdout"),
            stderr: read("stderr"),
            report: serde_json::from_str(&read("report.json")).unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// That it failed, with one clear error that says `words`, on the terminal and in the report.
    pub(crate) fn assert_failed(&self, words: &str) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{self:#?}");
        let whole = self.stderr.lines().filter(|line| {
            ["error: ", "cause: ", "hint: "]
                .iter()
                .any(|start| line.starts_with(start))
        });
        let whole = whole.collect::<Vec<_>>().join("\n");
        assert!(whole.contains(words), "`{words}` is not in:\n{whole}");
        assert_eq!(self.report["outcome"], "failed", "{self:#?}");
        assert_eq!(
            format!("error: {}", self.report["error"].as_str().unwrap()),
            errors[0]
        );
    }

    /// The report of a disk.
    pub(crate) fn disk(&self, n: usize) -> &Value {
        &self.report["disks"][n]
    }
}
