//! The operator's way: the list, a selection, a start, jobs followed and stopped; and the four steps of a configuration.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use whole_system_tests::{VCENTER_PASSWORD, VCENTER_USER, binary, wait_until};

use super::support::{MIB, PATIENCE, Site, bytes};

/// What came of a command.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let said = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        // Whatever was asked: no password is shown.
        for secret in [VCENTER_PASSWORD, "hush-hush"] {
            assert!(
                !said.stdout.contains(secret) && !said.stderr.contains(secret),
                "{said:#?}"
            );
        }
        said
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Asserts an exit status, and words that are said somewhere.
    fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            let is_said = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(is_said, "{word}: {self:#?}");
        }
        self
    }
}

fn engine() -> Command {
    let mut command = Command::new(binary("migrate-engine"));
    for name in [
        "MIGRATE_ENGINE_URL",
        "MIGRATE_ENGINE_TOKEN_FILE",
        "VSPHERE_USER",
        "VSPHERE_PASSWORD_FILE",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A command that asks the service of the site.
fn asking(site: &Site, arguments: &[&str]) -> Command {
    let mut command = engine();
    command
        .args(arguments)
        .arg(format!("--url={}", site.api))
        .arg("--token-file")
        .arg(site.file("token"));
    command
}

fn ask(site: &Site, arguments: &[&str]) -> Said {
    Said::of(asking(site, arguments).output().unwrap())
}

fn fill(site: &Site, vm: &Value, mebibytes: u64) {
    for n in 0..mebibytes {
        let bytes = bytes(n, MIB);
        site.vcenter.write(vm["id"].as_str().unwrap(), n * MIB, &bytes);
    }
}

/// Other machines of odd kinds have snapshots of their own.
fn assert_no_snapshots(site: &Site, machines: &[Value]) {
    for vm in machines {
        let left = site.vcenter.snapshots(vm["id"].as_str().unwrap());
        assert_eq!(left, Vec::<String>::new(), "{}", vm["name"]);
    }
}

/// The serial number of the machine of this name in the list.
fn serial(machines: &[Value], name: &str) -> usize {
    let found = machines.iter().position(|vm| vm["name"] == name);
    1 + found.unwrap_or_else(|| panic!("no {name}: {machines:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_lists_selects_starts_and_watches_and_one_that_is_refused_stops_nobody() {
    let Some(site) = Site::started(&["-odd"], &[]).await else {
        return;
    };
    let host = site.vcenter.host.clone();
    let password = site.file("password").display().to_string();
    let machines = site.machines().await;
    let discover = [
        "discover",
        &host,
        "-u",
        VCENTER_USER,
        "--password-file",
        &password,
    ];
    let pin = ["--fingerprint", &site.vcenter.fingerprint];
    let discovered = Said::of(engine().args(discover).args(pin).output().unwrap());
    let listed = ask(&site, &["sources", &host]);
    assert_eq!(discovered.stdout, listed.stdout, "numbers mean the same in both");
    assert_eq!(ask(&site, &["sources"]).stdout.trim(), host);
    let (_, sources) = site.ask(Method::GET, "/sources", None).await;
    assert_eq!(
        sources,
        json!({"sources": [{"host": host}]}),
        "names, and no secrets"
    );
    let path = format!("/sources/{host}/machines");
    let (_, known) = site.ask(Method::GET, &path, None).await;
    assert_eq!(known, json!({ "vms": machines }));
    let filtered = format!("{path}?filter=odd-raw");
    let (_, known) = site.ask(Method::GET, &filtered, None).await;
    assert_eq!(known["vms"][0]["name"], "odd-raw");
    for (path, status, code) in [
        (format!("{path}?colour=red"), 400, "invalid_request"),
        (format!("{path}?datacenter=nowhere"), 404, "vm_not_found"),
        ("/sources/elsewhere/machines".to_owned(), 404, "source_not_found"),
    ] {
        let (found, problem) = site.ask(Method::GET, &path, None).await;
        assert_eq!(
            (found.as_u16(), &problem["code"]),
            (status, &json!(code)),
            "{problem}"
        );
    }

    let raw = serial(&machines, "odd-raw");
    let selection = format!("1-3,{raw},2");
    let start = ["start", "--vcenter", &host, "--select", &selection];
    let unasked = ask(&site, &start);
    unasked.expect(1, &["nothing was started", "--yes", "odd-raw", "4 machines"]);
    ask(&site, &["jobs"]).expect(0, &["there is no such job"]);

    let started = ask(&site, &[&start[..], &["--yes", "--watch"]].concat());
    let started = started.expect(
        1,
        &["2 is selected more than once", "refused: ", "odd-raw: ", "hint: "],
    );
    assert_eq!(
        started.stdout.matches("  completed: 1 disk").count(),
        3,
        "{started:#?}"
    );

    let jobs = ask(&site, &["jobs", "--json"]).expect(0, &[]).json();
    let jobs = jobs["replications"].as_array().unwrap();
    assert_eq!(jobs.len(), 3);
    for (job, vm) in jobs.iter().rev().zip(&machines) {
        assert_eq!(
            (&job["status"], &job["vm_name"]),
            (&json!("completed"), &vm["name"])
        );
        site.assert_equal(vm, job).await;
    }
    let id = jobs[0]["id"].as_str().unwrap();
    let table = ask(&site, &["jobs", "--status", "completed"]).expect(0, &["ID", "SINCE", id]);
    assert_eq!(table.stdout.lines().count(), 4);
    let volume = jobs[0]["disks"][0]["volume_id"].as_str().unwrap();
    ask(&site, &["job", id]).expect(0, &["completed", "STEP", "MODE", volume]);
    assert_eq!(ask(&site, &["job", id, "--json"]).json()["id"], id);
    ask(&site, &["watch", id]).expect(0, &["completed"]);
    ask(&site, &["watch"]).expect(0, &["nothing is under way"]);
    ask(&site, &["cutover-ready", id]).expect(0, &["ready to be cut over"]);
    ask(&site, &["cancel", id]).expect(1, &["was not stopped"]);
    ask(&site, &["retry", id]).expect(1, &["only one that failed", "migrate-engine job ID"]);
    assert_no_snapshots(&site, &machines[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_names_machines_and_programs_read_json() {
    let Some(site) = Site::started(&["-odd", "-vms", "1"], &[]).await else {
        return;
    };
    let host = site.vcenter.host.clone();
    let machines = site.machines().await;
    let (path, name) = (
        machines[0]["path"].as_str().unwrap(),
        machines[1]["name"].as_str().unwrap(),
    );
    let start = ["start", "--vcenter", &host, "--yes", "--json"];
    let named = [
        "--watch", "--type", "initial", "--vm", path, name, path, "odd-twin", "nobody",
    ];
    let said = ask(&site, &[&start[..], &named].concat()).expect(1, &[]).json();
    let started = said["started"].as_array().unwrap();
    let statuses: Vec<_> = started
        .iter()
        .map(|job| (&job["vm_path"], &job["status"]))
        .collect();
    let completed = json!("completed");
    let expected = [
        (&machines[0]["path"], &completed),
        (&machines[1]["path"], &completed),
    ];
    assert_eq!(statuses, expected, "{said:#}");
    let codes: Vec<_> = said["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["code"])
        .collect();
    assert_eq!(codes, ["vm_ambiguous", "vm_not_found"]);
    for refused in said["refused"].as_array().unwrap() {
        assert!(refused["hint"].as_str().unwrap().len() > 10, "{refused}");
    }
    for (selection, words) in [
        ("99", "the list ends with"),
        ("web", "neither a number"),
        ("", "nothing is selected"),
    ] {
        let said = ask(
            &site,
            &["start", "--vcenter", &host, "--yes", "--select", selection],
        );
        said.expect(1, &[words]);
    }
    let elsewhere = ask(&site, &["start", "--vcenter", "elsewhere", "--yes", "--all"]);
    elsewhere.expect(1, &["nothing is known of the source `elsewhere`", &host]);
    let (_, list) = site.ask(Method::GET, "/replications", None).await;
    assert_eq!(list["replications"].as_array().unwrap().len(), 2);
    assert_no_snapshots(&site, &machines[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_stops_watching_and_then_the_job() {
    let Some(site) = Site::started(&["-vms", "1"], &["--rate", "8MiB"]).await else {
        return;
    };
    let machines = site.machines().await;
    fill(&site, &machines[0], 48);
    let host = site.vcenter.host.clone();
    let path = machines[0]["path"].as_str().unwrap();
    let start = ["start", "--vcenter", &host, "--yes", "--json", "--vm", path];
    let said = ask(&site, &start).expect(0, &[]).json();
    let id = said["started"][0]["id"].as_str().unwrap().to_owned();
    ask(&site, &start).expect(1, &["replicated already", "migrate-engine watch ID", &id]);

    let mut watching = asking(&site, &["watch"]);
    let mut watching = watching
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("a line of the job", PATIENCE, async || first_byte(&mut watching)).await;
    kill_process(Pid::from_child(&watching), Signal::INT).unwrap();
    let said = Said::of(watching.wait_with_output().unwrap());
    said.expect(130, &["the jobs go on"]);
    assert_eq!(
        ask(&site, &["job", &id, "--json"]).json()["cancel_requested"],
        false
    );

    let cancelled = ask(&site, &["cancel", &id, "job-20200101-000000", "--wait"]);
    cancelled.expect(
        1,
        &[
            "cancelled; everything was given back",
            "there is no job",
            "migrate-engine jobs",
        ],
    );
    site.assert_nothing_left().await;
    ask(&site, &["cancel", &id, "--wait"]).expect(0, &["cancelled"]);
    ask(&site, &["watch", &id]).expect(1, &["cancelled"]);
    ask(&site, &["retry", &id]).expect(0, &["is done again"]);
    ask(&site, &["cancel", "--wait", &id]).expect(0, &["cancelled"]);
    site.assert_nothing_left().await;
}

/// Something was said; the pipe is read no further.
fn first_byte(child: &mut Child) -> Option<()> {
    let mut byte = [0];
    let count = child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
    (count == 1).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_is_told_what_to_do_where_the_service_cannot_be_asked() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let wrong = site.file("wrong-token");
    fs::write(&wrong, "not-the-services-token\n").unwrap();
    let with = |url: &str, token: &Path, arguments: &[&str]| {
        let mut command = engine();
        command.args(arguments).arg("--url").arg(url);
        Said::of(command.arg("--token-file").arg(token).output().unwrap())
    };
    let token = site.file("token");
    let api = site.api.clone();
    let commands: [&[&str]; 7] = [
        &["jobs"],
        &["job", "job-1"],
        &["watch", "job-1"],
        &["cancel", "job-1"],
        &["retry", "job-1"],
        &["sources"],
        &["start", "--vcenter", "x", "--all", "--yes"],
    ];
    for command in commands {
        let said = with(&api, &wrong, command);
        said.expect(1, &["does not accept the token", "wrong-token", "--token-file"]);
        let said = with(&api, &site.file("nowhere"), command);
        said.expect(1, &["nowhere", "migrate-engine serve"]);
        let said = with("http://192.0.2.1:8082", &token, command);
        said.expect(1, &["not on this machine", "https://HOST:PORT"]);
    }
    with(&site.discovery, &token, &["jobs"]).expect(1, &["not the service", "8082"]);
    ask(&site, &["job", "job-20200101-000000"]).expect(1, &["there is no job", "migrate-engine jobs"]);
    ask(&site, &["job", "../sources"]).expect(1, &["is no id of a job"]);
    site.end(Signal::TERM);
    for command in commands {
        let said = with(&api, &token, command);
        said.expect(1, &["no service answers", "migrate-engine serve", "--url"]);
    }
}

/// A file of another program: odd white space, unknown keys, other sections.
const THEIRS: &str = "{\n    \"source\": {\"esxi_host\": \"old\", \"esxi_user\": \"root\",  \"esxi_pass\": \"hush-hush\", \"port\" : 4.43e2},\n    \
    \"destination\": { \"proxmox_host\":\"pve1\", \"kvm_pass\": \"hush-hush\" ,\"kvm_storage_pool\": \"fast\" },\n    \
    \"colour\": [ 1,2 ,3],\n    \"storage\": \"local-lvm\"\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn operator_takes_four_steps_and_each_writes_its_own_section() {
    let Some(site) = Site::started(&["-odd"], &[]).await else {
        return;
    };
    let config = site.file("config.json");
    fs::write(&config, THEIRS).unwrap();
    let read = || fs::read_to_string(&config).unwrap();
    let steps = |arguments: &[&str]| {
        let mut command = engine();
        command.arg("steps").args(arguments).arg("--config").arg(&config);
        Said::of(command.output().unwrap())
    };
    let imported = steps(&["import", config.to_str().unwrap()]);
    imported.expect(
        0,
        &[
            "root at old, password set",
            "`colour`",
            "can be used as it is",
            "selected_vms",
        ],
    );
    assert_eq!(read(), THEIRS);

    steps(&["platforms", "--from", "vcenter", "--to", "proxmox"]).expect(0, &["from vcenter to proxmox"]);
    let platforms = ",\n    \"platforms\": {\n        \"source\": \"vcenter\",\n        \"target\": \"proxmox\"\n    }\n}\n";
    let first = THEIRS.replace("\n}\n", platforms);
    assert_eq!(read(), first);

    let host = site.vcenter.host.clone();
    let good = site.file("password").display().to_string();
    let bad = site.file("bad-password").display().to_string();
    fs::write(&bad, "hush-hush").unwrap();
    let pin = ["--fingerprint", site.vcenter.fingerprint.as_str()];
    let source = ["source", &host, "-u", VCENTER_USER, "--password-file"];
    let refused = steps(&[&source[..], &[&bad], &pin].concat());
    refused.expect(1, &["user name or password", "nothing was written"]);
    let distrusted = steps(&[&source[..], &[&good]].concat());
    distrusted.expect(1, &["certificate", "nothing was written"]);
    assert_eq!(read(), first);
    let machines = site.machines().await;
    let known = steps(&[&source[..], &[&good], &pin].concat());
    let known = known.expect(0, &["NAME", "logged in to"]);
    assert!(
        machines
            .iter()
            .all(|vm| known.stdout.contains(vm["path"].as_str().unwrap()))
    );
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let second = first
        .replace("\"old\"", &quoted(&host))
        .replacen("\"root\"", &quoted(VCENTER_USER), 1)
        .replacen("\"hush-hush\"", &quoted(VCENTER_PASSWORD), 1);
    assert_eq!(read(), second);

    for (selection, words) in [("99", "the list ends with"), ("1,,2", "comma")] {
        steps(&[&["select", selection], &pin[..]].concat()).expect(1, &[words]);
        assert_eq!(read(), second);
    }
    let selected = steps(&[&["select", "1,3-4,3"], &pin[..]].concat());
    let selected = selected.expect(0, &["selected 1,3,4: 3 machines", "3 is written more than once"]);
    assert_eq!(
        selected
            .stdout
            .lines()
            .filter(|line| !line.starts_with("    !"))
            .count(),
        4
    );
    let third = second.replace(
        "\n    }\n}\n",
        "\n    },\n    \"selected_vms\": [\n        1,\n        3,\n        4\n    ]\n}\n",
    );
    assert_eq!(read(), third);

    let proxmox = [
        "destination",
        "proxmox",
        "pve2",
        "-u",
        "root@pam",
        "--password-file",
        &bad,
    ];
    steps(&proxmox).expect(0, &["pve2", "NOT verified"]);
    let fourth: Value = serde_json::from_str(&read()).unwrap();
    let destination = json!({"proxmox_host": "pve2", "proxmox_user": "root@pam", "proxmox_pass": "hush-hush",
        "kvm_pass": "hush-hush", "kvm_storage_pool": "fast"});
    assert_eq!(fourth["destination"], destination);
    let (before, _) = third.split_once("\"destination\"").unwrap();
    let (_, after) = third.split_once("\"colour\"").unwrap();
    assert!(
        read().starts_with(before) && read().ends_with(after),
        "{}",
        read()
    );
    steps(&["destination", "kvm", "kvm1", "-u", "root"]).expect(0, &["a key", "pool fast", "NOT verified"]);
    let shown = steps(&["show"]).expect(
        0,
        &[
            "vcenter -> proxmox",
            "1,3,4 (3 machines)",
            "root@pam at pve2, password set",
        ],
    );
    assert!(!shown.stderr.contains("to do"), "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_mends_a_selection_and_broken_files_stay_as_they_are() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let config = site.file("config.json");
    let steps = |arguments: &[&str]| {
        let mut command = engine();
        command.arg("steps").args(arguments).arg("--config").arg(&config);
        Said::of(command.output().unwrap())
    };
    steps(&["show"]).expect(1, &["there is no configuration", "the first step writes it"]);
    let pin = ["--fingerprint", site.vcenter.fingerprint.as_str()];
    let select = [&["select", "2"], &pin[..]].concat();
    fs::write(&config, "{\"selected_vms\": \"2\"}").unwrap();
    steps(&select).expect(1, &["source.esxi_host"]);
    let source =
        json!({"esxi_host": site.vcenter.host, "esxi_user": VCENTER_USER, "esxi_pass": VCENTER_PASSWORD});
    fs::write(
        &config,
        json!({"source": source, "selected_vms": "2"}).to_string(),
    )
    .unwrap();
    steps(&["show"]).expect(1, &["selected_vms"]);
    steps(&select).expect(0, &["selected 2: 1 machine"]);
    steps(&["show"]).expect(0, &["2 (1 machine"]);
    let broken = "{\"source\": ,}";
    fs::write(&config, broken).unwrap();
    for command in [
        &["show"][..],
        &select,
        &["platforms", "--from", "esxi", "--to", "kvm"],
    ] {
        steps(command).expect(1, &["line 1, column"]);
        assert_eq!(fs::read_to_string(&config).unwrap(), broken);
    }
}
