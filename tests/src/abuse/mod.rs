//! Abuse: schemathesis asks the real daemon and the real service whatever their OpenAPI documents allow and forbid, and every
//! answer has to be as the documents say: no 5xx, declared statuses, content types, headers and bodies.
//!
//! Three sites after one another: the daemon on loop devices, the daemon on the tests' CloudStack, the service beside a
//! simulated vCenter. Requests are chosen by chance, deletes and attaches among them; all of them stay in folders of their own.

mod service;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use volume_client::types::{NewToken, TokenScope};

use crate::{Appliance, CloudSite};
use service::Service;

const CONFIG: &str = include_str!("schemathesis.toml");

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// As much as fits into this time, all sites together.
    Time(Duration),
    /// So many requests by chance for each kind of request, however long a busy machine takes for them.
    Requests(u32),
}

/// How much, and from where chance begins.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What chance begins with.
    pub seed: u64,
    /// How much.
    pub bound: Bound,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Everything that was not as the documents say.
    pub violations: Vec<String>,
    /// What each site was asked.
    figures: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; {} violations",
            self.figures.join("; "),
            self.violations.len()
        )
    }
}

/// Asks. `None`, loudly, where this is not root or schemathesis is not there.
pub async fn run(plan: &Plan) -> Option<Report> {
    let program = schemathesis()?;
    let mut report = Report::default();
    let ask = |site, dir: &Path, url: &str, token| asked(&program, plan, site, dir, url, token);

    let mut daemon = Appliance::new()?;
    let (url, token) = listening(&mut daemon).await;
    report.add(ask("local", daemon.dir(), &url, token));
    report.is_well(&mut daemon);
    drop(daemon);

    let mut site = CloudSite::new().await?;
    let (url, token) = listening(&mut site.daemon).await;
    report.add(ask("cloudstack", site.daemon.dir(), &url, token));
    report.is_well(&mut site.daemon);
    let broken = site.cloud.violations();
    report
        .violations
        .extend(broken.iter().map(|rule| format!("towards the cloud: {rule:?}")));
    drop(site);

    let mut daemon = Appliance::started().await?;
    let mut service = Service::start(&daemon).await;
    report.add(ask("service", daemon.dir(), &service.url, service.token()));
    report.violations.extend(service.end());
    report.is_well(&mut daemon);
    Some(report)
}

/// Starts the daemon, which wants a token of everybody: its address, and the header with an administrator's.
async fn listening(daemon: &mut Appliance) -> (String, String) {
    daemon.setup.listen = Some("127.0.0.1:0".to_owned());
    let strict = [
        ("VOLUMED_HTTP_REQUIRE_TOKEN", "true"),
        ("VOLUMED_HTTP_REQUESTS_PER_SECOND", "100000"),
    ];
    let strict = strict.map(|(name, value)| (name, value.to_owned()));
    daemon.setup.environment.extend(strict);
    daemon.setup.log_format = "json";
    daemon.start().await;
    let lines = daemon.log_lines();
    let address = lines.iter().find_map(|line| line["address"].as_str());
    let url = format!("http://{}", address.expect("the address is logged"));
    let new = NewToken {
        name: "schemathesis".to_owned(),
        scope: TokenScope::Admin,
        expires_at: None,
    };
    let grant = daemon.client().create_token(&new).await.unwrap();
    (url, format!("Authorization: Bearer {}", grant.secret.reveal()))
}

/// What schemathesis said.
struct Asked {
    site: &'static str,
    passed: bool,
    said: String,
}

impl Report {
    fn add(&mut self, asked: Asked) {
        let generated = asked.said.lines().find(|line| line.contains(" generated, "));
        let generated = generated.unwrap_or("nothing was asked").trim();
        self.figures.push(format!("{}: {generated}", asked.site));
        if !asked.passed || generated == "nothing was asked" {
            // Of a defect of its own it tells all that it knows.
            let said = asked.said.lines().filter(|line| line.len() < 2000);
            let said: Vec<_> = said.take(400).collect();
            self.violations
                .push(format!("{}:\n{}", asked.site, said.join("\n")));
        }
    }

    /// That the daemon lives, and no handler of it has panicked.
    fn is_well(&mut self, daemon: &mut Appliance) {
        if daemon.has_ended() {
            self.violations.push("the daemon has ended".to_owned());
        }
        let log = daemon.log();
        let panics = log.lines().filter(|line| line.contains("panicked"));
        self.violations.extend(panics.map(str::to_owned));
    }
}

/// Runs schemathesis to its end. Blocks: from a multi-threaded runtime only.
fn asked(program: &Path, plan: &Plan, site: &'static str, dir: &Path, url: &str, token: String) -> Asked {
    let config = dir.join("schemathesis.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new(program);
    command.arg("--config-file").arg(&config);
    command
        .arg("run")
        .arg(format!("{url}/openapi.json"))
        .args(["--url", url]);
    command.args(["--seed", &plan.seed.to_string()]);
    match plan.bound {
        Bound::Time(time) => command.args(["--max-time", &(time / 3).as_secs().max(1).to_string()]),
        Bound::Requests(most) => command.args([
            "--phases",
            "fuzzing,stateful",
            "--max-examples",
            &most.to_string(),
        ]),
    };
    // A request may wait for 60 s, as it says.
    command.args(["--request-timeout", "70", "--workers", "1", "--no-color"]);
    command.args(["--generation-database", "none", "--continue-on-failure"]);
    command.args(["--header", &token]);
    command.current_dir(dir).stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let said = [output.stdout, output.stderr].concat();
    Asked {
        site,
        passed: output.status.success(),
        said: String::from_utf8_lossy(&said).into_owned(),
    }
}

/// The program; says aloud that the test is skipped where it is not there.
fn schemathesis() -> Option<PathBuf> {
    let us = std::env::current_exe().unwrap();
    let target = us.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let program = target
        .expect("tests lie in cargo's target folder")
        .join("python/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must have schemathesis: cargo xtask install-deps"
    );
    eprintln!("SKIPPED: needs schemathesis (cargo xtask install-deps)");
    None
}
