//! A place of its own with the real daemon in it: started, stopped, killed, and cleaned up after.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use volume_client::client::VolumedClient;
use volume_client::types::{AttachResponse, AttachVolume, NewVolume, Volume, VolumeId};

use crate::{Raw, binary, is_root, loops, mount, wait_until};

/// The VM that the daemon is told it runs in.
pub const VM: &str = "appliance-1";

/// How long the daemon may take to be ready, or to end; machines that run everything at once are slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the daemon is started; changed before [`Appliance::start`].
#[derive(Debug, Clone)]
pub struct Setup {
    /// The daemon; the one beside this test where nothing is given.
    pub program: Option<PathBuf>,
    /// The database.
    pub database: PathBuf,
    /// The directory of the volumes' files.
    pub local_root: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
    /// The TCP address, if any.
    pub listen: Option<String>,
    /// `text` or `json`.
    pub log_format: &'static str,
    /// Who keeps the volumes: `local`, unless the test's own keys say more about another one.
    pub provider: &'static str,
    /// The VM that the daemon runs in.
    pub vm: String,
    /// Further keys of the configuration, as environment variables.
    pub environment: Vec<(&'static str, String)>,
    /// Variables of this process that the daemon does not get.
    pub unset: Vec<&'static str>,
}

impl Setup {
    fn command(&self, config: &Path) -> Command {
        let mut command = Command::new(self.program.clone().unwrap_or_else(|| binary("volumed")));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VOLUMED_"))
        {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(config);
        command.args(["--provider", self.provider, "--log-format", self.log_format]);
        if self.provider == "local" {
            command.args(["--vm-id", &self.vm]);
        }
        command
            .arg("--database")
            .arg(&self.database)
            .arg("--local-root")
            .arg(&self.local_root);
        command.arg("--socket").arg(&self.socket);
        if let Some(listen) = &self.listen {
            command.args(["--listen", listen]);
        }
        for name in &self.unset {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A daemon and everything that it works on. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Appliance {
    /// How the daemon is started the next time.
    pub setup: Setup,
    process: Option<Child>,
    dir: TempDir,
}

impl Appliance {
    /// An appliance whose daemon does not run yet; `None`, loudly, where this is not root.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let dir = tempfile::Builder::new()
            .prefix("volumed-test-")
            .tempdir()
            .unwrap();
        std::fs::write(dir.path().join("volumed.toml"), "").unwrap();
        let setup = Setup {
            program: None,
            database: dir.path().join("v.db"),
            local_root: dir.path().join("cloud"),
            socket: dir.path().join("v.sock"),
            listen: None,
            log_format: "text",
            provider: "local",
            vm: VM.to_owned(),
            environment: Vec::new(),
            unset: Vec::new(),
        };
        Some(Self {
            setup,
            process: None,
            dir,
        })
    }

    /// An appliance whose daemon is ready; `None`, loudly, where this is not root.
    pub async fn started() -> Option<Self> {
        let mut appliance = Self::new()?;
        appliance.start().await;
        Some(appliance)
    }

    /// The directory that holds everything of it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Everything that its daemons logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = self.setup.command(&self.dir.path().join("volumed.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the daemon can be started")
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(&mut self) {
        self.launch();
        let client = self.client();
        wait_until("the daemon to be ready", PATIENCE, async || {
            let ended = self.process.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the daemon ended ({ended:?}):\n{}", self.log());
            client.readiness().await.ok().filter(|readiness| readiness.ready)
        })
        .await;
    }

    /// Starts the daemon and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "its daemon runs already");
        self.process = Some(self.spawn());
    }

    /// Starts a daemon that must not come up: how it ended, and what it logged.
    pub async fn start_in_vain(&mut self) -> (ExitStatus, String) {
        let before = self.log().len();
        self.launch();
        let status = self.ended().await;
        (status, self.log()[before..].to_owned())
    }

    /// Waits until the daemon has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let log = self.log_path();
        let child = self.process.as_mut().expect("its daemon runs");
        let what = format!("the daemon to end; its log: {}", log.display());
        let status = wait_until(&what, PATIENCE, async || child.try_wait().unwrap()).await;
        self.process = None;
        status
    }

    /// Whether a daemon that was started and not stopped has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.process.as_mut().expect("its daemon was started");
        child.try_wait().unwrap().is_some()
    }

    /// The daemon's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("its daemon runs").id()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.process.as_ref().expect("its daemon runs"));
        kill_process(pid, signal).unwrap();
    }

    /// Asks the daemon to end (SIGTERM) and waits for it.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Kills the daemon (SIGKILL): its end is the machine's crash, but for the kernel's memory.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// The typed client.
    #[must_use]
    pub fn client(&self) -> VolumedClient {
        VolumedClient::unix(&self.setup.socket).unwrap()
    }

    /// The client without manners.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw::to(&self.setup.socket)
    }

    /// Creates a volume.
    pub async fn create(&self, name: &str, size_bytes: u64) -> Volume {
        let new = NewVolume {
            name: name.into(),
            size_bytes,
            source: None,
        };
        self.client()
            .create_volume_and_wait(&new, PATIENCE)
            .await
            .unwrap()
    }

    /// Attaches a volume.
    pub async fn attach(&self, id: VolumeId) -> AttachResponse {
        let attach = AttachVolume {
            vm_id: self.setup.vm.clone(),
        };
        self.client()
            .attach_and_wait(id, &attach, PATIENCE)
            .await
            .unwrap()
    }

    /// Detaches a volume.
    pub async fn detach(&self, id: VolumeId) {
        self.client().detach_and_wait(id, PATIENCE).await.unwrap();
    }

    /// The loop devices over its volumes' files.
    #[must_use]
    pub fn loops(&self) -> Vec<String> {
        loops::loops_within(&self.setup.local_root)
    }

    /// The lines of a JSON log.
    ///
    /// # Panics
    /// Where a line is no JSON object.
    #[must_use]
    pub fn log_lines(&self) -> Vec<Value> {
        let log = self.log();
        // The last line may be under way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let parse = |line: &str| -> Value {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(value.is_object(), "{line}");
            value
        };
        whole.lines().map(parse).collect()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        mount::unmount_within(self.dir.path());
        loops::detach_within(self.dir.path());
    }
}
