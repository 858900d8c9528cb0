//! The service of replications, beside a daemon and a simulated vCenter.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Appliance, VCENTER_PASSWORD, VCENTER_USER, Vcenter, binary, wait_until};

/// A running service; ends with this.
pub(super) struct Service {
    pub(super) url: String,
    child: Child,
    dir: PathBuf,
    _vcenter: Vcenter,
}

impl Service {
    pub(super) async fn start(daemon: &Appliance) -> Self {
        let vcenter = Vcenter::start(&[]);
        let dir = daemon.dir().to_owned();
        let path = |name: &str| dir.join(name).display().to_string();
        fs::write(path("password"), VCENTER_PASSWORD).unwrap();
        let sources = format!(
            "[[vsphere]]\nhost = \"{}\"\nusername = \"{VCENTER_USER}\"\npassword_file = \"{}\"\nfingerprint = \"{}\"\n",
            vcenter.host,
            path("password"),
            vcenter.fingerprint
        );
        fs::write(path("sources.toml"), sources).unwrap();
        let mut command = Command::new(binary("migrate-engine"));
        command
            .arg("serve")
            .arg("--volumed-socket")
            .arg(&daemon.setup.socket);
        command.args(["--listen", "127.0.0.1:0", "--discovery-listen", "127.0.0.1:0"]);
        for (option, name) in [
            ("--database", "e.db"),
            ("--runtime-dir", "r"),
            ("--sources", "sources.toml"),
            ("--token-file", "token"),
            ("--schedules", "schedules.toml"),
            ("--nbd-listen", "nbd.sock"),
        ] {
            command.args([option, &path(name)]);
        }
        let child = command
            .env("TMPDIR", &dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("service.log")).unwrap())
            .spawn()
            .unwrap();
        let log = dir.join("service.log");
        let url = wait_until("the service", Duration::from_secs(30), async || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = said.split_once("replications: ")?;
            rest.split_once('\n').map(|(url, _)| url.to_owned())
        })
        .await;
        Self {
            url,
            child,
            dir,
            _vcenter: vcenter,
        }
    }

    /// The header that says who asks.
    pub(super) fn token(&self) -> String {
        let token = fs::read_to_string(self.dir.join("token")).unwrap();
        format!("Authorization: Bearer {}", token.trim())
    }

    /// Ends it; what was wrong with it.
    pub(super) fn end(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.child.try_wait().unwrap().is_some() {
            wrong.push("the service has ended".to_owned());
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let said = fs::read_to_string(self.dir.join("service.log")).unwrap_or_default();
        wrong.extend(
            said.lines()
                .filter(|line| line.contains("panicked"))
                .map(str::to_owned),
        );
        wrong
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
