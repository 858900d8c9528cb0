//! The CloudStack of the tests before an independent client: Debian's `cs`, with what it says kept as a transcript.
//!
//! The transcript is `cloudstack_cs.golden`; `UPDATE_GOLDEN=1` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells what it skips"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use whole_system_tests::cloudstack::{
    CloudStackServer, ElsewhereHypervisor, Fault, Gate, Hold, Setup, Violation,
};
use whole_system_tests::wait_until;

/// The program that Debian's package `cs` installs.
const CS: &str = "/usr/bin/cloudstack";
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cloudstack_cs.golden");

/// Whether the client is there; says aloud that the test is skipped where not.
fn has_cs() -> bool {
    if Path::new(CS).exists() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must have {CS}: cargo xtask install-deps"
    );
    eprintln!("SKIPPED: needs {CS} (Debian package cs)");
    false
}

/// Runs the client, and writes down what it says.
struct Session<'a> {
    server: &'a CloudStackServer,
    home: tempfile::TempDir,
    names: BTreeMap<Uuid, String>,
    transcript: String,
}

impl Session<'_> {
    fn named(&mut self, id: Uuid, name: &str) {
        self.names.insert(id, format!("<{name}>"));
    }

    /// One run; reads by GET, changes by POST. Returns what it printed.
    fn cs(&mut self, args: &[&str]) -> serde_json::Value {
        let is_read = args
            .iter()
            .any(|arg| arg.starts_with("list") || arg.starts_with("query"));
        let post: &[&str] = if is_read { &[] } else { &["--post"] };
        let output = Command::new(CS)
            .args(post)
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("CLOUDSTACK_ENDPOINT", self.server.url())
            .env("CLOUDSTACK_KEY", self.server.api_key())
            .env("CLOUDSTACK_SECRET", self.server.secret_key())
            .env("CLOUDSTACK_POLL_INTERVAL", "0.05")
            .output()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let printed = serde_json::from_str(&stdout).unwrap_or_default();
        let command: Vec<_> = args
            .iter()
            .map(|arg| {
                if arg.contains(' ') {
                    format!("'{arg}'")
                } else {
                    (*arg).to_owned()
                }
            })
            .collect();
        let code = output.status.code().unwrap();
        let entry = format!("$ cs {}\n{stdout}{stderr}exit {code}\n\n", command.join(" "));
        let entry = self.normalised(&entry);
        self.transcript += &entry;
        printed
    }

    /// Ids by name, the rest of them and times as such.
    fn normalised(&self, text: &str) -> String {
        let mut words = String::new();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-+:".contains(c);
        for word in text.split_inclusive(|c| !is_part(c)) {
            let end = word.trim_end_matches(|c| !is_part(c)).len();
            let (word, rest) = word.split_at(end);
            let shown = match word.parse::<Uuid>() {
                Ok(id) if word.len() == 36 => {
                    self.names.get(&id).cloned().unwrap_or_else(|| "<id>".to_owned())
                }
                _ if is_time(word) => "<time>".to_owned(),
                _ => word.to_owned(),
            };
            words += &shown;
            words += rest;
        }
        words
    }
}

fn is_time(word: &str) -> bool {
    word.len() == 24 && word.ends_with("+0000") && word.as_bytes().get(10) == Some(&b'T')
}

fn id_of(value: &serde_json::Value) -> Uuid {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no id: {value}"))
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_independent_client_and_this_server_understand_each_other() {
    if !has_cs() {
        return;
    }
    let mut setup = Setup::on(Arc::new(ElsewhereHypervisor::default()));
    setup.settings.detach_patience = Duration::from_millis(50);
    let server = CloudStackServer::start(setup).await;
    let mut session = Session {
        server: &server,
        home: tempfile::tempdir().unwrap(),
        names: BTreeMap::new(),
        transcript: String::new(),
    };
    session.named(server.vm_id(), "vm");
    session.named(server.zone_id(), "zone");
    session.named(server.offering_id(), "offering");
    tokio::task::block_in_place(|| lifecycle(&mut session));
    tokio::task::block_in_place(|| refusals(&mut session));
    asynchronously(&mut session).await;

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &session.transcript).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    for (number, (ours, kept)) in session.transcript.lines().zip(golden.lines()).enumerate() {
        assert_eq!(ours, kept, "line {} of the transcript", number + 1);
    }
    assert_eq!(
        session.transcript.lines().count(),
        golden.lines().count(),
        "the transcript's length"
    );
    assert_eq!(server.violations(), [] as [Violation; 0]);
}

fn lifecycle(session: &mut Session) {
    let (vm, zone) = (
        format!("virtualmachineid={}", session.server.vm_id()),
        format!("zoneid={}", session.server.zone_id()),
    );
    let offering = format!("diskofferingid={}", session.server.offering_id());
    session.cs(&["listCapabilities"]);
    session.cs(&["listZones", "name=z1"]);
    session.cs(&["listVirtualMachines", "name=mig-appliance"]);
    let made = session.cs(&[
        "createVolume",
        "name=cs *[0]/+ä&=disk",
        &offering,
        &zone,
        "size=1",
    ]);
    let volume = id_of(&made["volume"]["id"]);
    // The transcript before this line has it as any id.
    session.named(volume, "volume");
    let id = format!("id={volume}");
    session.cs(&["attachVolume", &id, &vm]);
    session.cs(&["listVolumes", &vm, "type=DATADISK"]);
    let resource = format!("resourceids={volume}");
    let tag = ["tags[0].key=volumed/owner *", "tags[0].value=appliance [1] (a+b)"];
    session.cs(&["createTags", &resource, "resourcetype=Volume", tag[0], tag[1]]);
    session.cs(&["listVolumes", tag[0], tag[1]]);
    session.cs(&["listTags", "resourcetype=Volume", "key=volumed/owner *"]);
    let snapshot = session.cs(&["createSnapshot", &format!("volumeid={volume}"), "name=before *"]);
    let snapshot = id_of(&snapshot["snapshot"]["id"]);
    session.named(snapshot, "snapshot");
    session.cs(&["detachVolume", &id]);
    session.cs(&["resizeVolume", &id, "size=2"]);
    session.cs(&["revertSnapshot", &format!("id={snapshot}")]);
    session.cs(&["listSnapshots", &format!("volumeid={volume}")]);
    session.cs(&["deleteSnapshot", &format!("id={snapshot}")]);
    session.cs(&["deleteVolume", &id]);
    session.cs(&["listVolumes", &id]);
}

fn refusals(session: &mut Session) {
    let offering = format!("diskofferingid={}", session.server.offering_id());
    let zone = format!("zoneid={}", session.server.zone_id());
    let made = session.cs(&["createVolume", "name=refused", &offering, &zone, "size=1"]);
    let volume = id_of(&made["volume"]["id"]);
    session.named(volume, "refused");
    let id = format!("id={volume}");
    let nowhere = "8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10";
    session.cs(&["attachVolume", &id, &format!("virtualmachineid={nowhere}")]);
    session.cs(&["detachVolume", &id]);
    session.cs(&["deleteVolume", &format!("id={nowhere}")]);
    session.cs(&["deleteVolume"]);
    session.cs(&["listNothing"]);
    session.cs(&["listHypervisorCapabilities"]);
    session.cs(&["listVolumes", "page=1", "pagesize=501"]);
    // Java escapes `~` and this client does not: such a name cannot be signed by it.
    session.cs(&["listVolumes", "name=a~b"]);
    session.cs(&["destroyVolume", &id, "expunge=true"]);
}

async fn asynchronously(session: &mut Session<'_>) {
    let (offering, zone) = (session.server.offering_id(), session.server.zone_id());
    let vm = session.server.vm_id();
    let gate = Gate::default();
    session
        .server
        .faults()
        .next("attachVolume", Fault::Slow(Hold::Until(gate.clone())));
    let job = tokio::task::block_in_place(|| {
        let args = [format!("diskofferingid={offering}"), format!("zoneid={zone}")];
        let made = session.cs(&["createVolume", "name=slow", &args[0], &args[1], "size=1"]);
        let volume = id_of(&made["volume"]["id"]);
        session.named(volume, "slow");
        let attach = [format!("id={volume}"), format!("virtualmachineid={vm}")];
        let started = session.cs(&["--async", "attachVolume", &attach[0], &attach[1]]);
        let job = id_of(&started["jobid"]);
        session.named(job, "job");
        session.cs(&["queryAsyncJobResult", &format!("jobid={job}")]);
        job
    });
    gate.open();
    wait_until("the slow job", Duration::from_secs(10), async || {
        let jobs = session.server.snapshot().jobs;
        jobs.iter()
            .any(|known| known.id == job && !known.is_pending())
            .then_some(())
    })
    .await;
    tokio::task::block_in_place(|| session.cs(&["queryAsyncJobResult", &format!("jobid={job}")]));
}
