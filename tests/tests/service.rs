//! The daemon as a service: what it tells those who watch it, its log, its end, and the command line against it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Instant;

use reqwest::Method;
use rustix::process::Signal;
use volume_client::client::{DEFAULT_WAIT, VolumedClient};
use volume_client::types::{AttachVolume, NewVolume, VolumeState};
use whole_system_tests::{Appliance, Outcome, VM, binary, make_certificate, volumectl, wait_until};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_metrics_and_description_are_told() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let (client, raw) = (appliance.client(), appliance.raw());
    client.health().await.unwrap();
    let readiness = client.readiness().await.unwrap();
    assert!(readiness.ready);
    for check in ["store", "cloud", "watcher", "recovery"] {
        assert!(
            readiness.checks.iter().any(|c| c.name == check && c.ok),
            "{check}: {readiness:#?}"
        );
    }
    let id = appliance.create("counted", MIB).await.id;
    appliance.attach(id).await;
    let metrics = client.metrics().await.unwrap();
    assert!(metrics.contains("volumed_build_info{"), "{metrics}");
    let attached =
        |line: &&str| line.contains("operations") && line.contains("attach") && line.ends_with(" 1");
    assert!(metrics.lines().any(|line| attached(&line)), "{metrics}");
    assert!(!metrics.contains(&id.to_string()), "labels are a closed set");
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.vm_id.as_str(), status.counts.mapped, status.counts.pinned),
        (VM, 1, 1)
    );
    let description = client.openapi().await.unwrap();
    let paths = description["paths"].as_object().unwrap();
    for path in [
        "/api/v1/volumes/{volume_id}/attach",
        "/api/v1/leases",
        "/api/v1/events",
        "/healthz",
    ] {
        assert!(paths.contains_key(path), "{path}: {:#?}", paths.keys());
    }
    // What is described is there.
    for (path, verbs) in paths {
        if verbs.get("get").is_some() && !path.contains('{') && path != "/api/v1/events" {
            assert!(raw.get(path).await.status.is_success(), "{path}");
        }
    }
    appliance.detach(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_log_is_json_and_names_every_request() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.log_format = "json";
    appliance.start().await;
    let raw = appliance.raw();
    let given = "my-request.1_2";
    // Reading leaves no line at this level; a change does, also one that is refused.
    let refused = format!("/api/v1/volumes/{}/detach", volume_client::types::VolumeId::new());
    let request = raw.request(Method::POST, &refused).header("x-request-id", given);
    assert_eq!(raw.send(request).await.header("x-request-id"), given);
    for unsafe_id in ["a b", "a\u{1b}[2J", &"x".repeat(65), "a\"b"] {
        let value = reqwest::header::HeaderValue::from_bytes(unsafe_id.as_bytes());
        let Ok(value) = value else { continue };
        let request = raw
            .request(Method::GET, "/api/v1/status")
            .header("x-request-id", value);
        let answer = raw.send(request).await;
        assert!(answer.header("x-request-id") != unsafe_id && answer.header("x-request-id").len() == 36);
    }
    let id = appliance.create("logged", MIB).await.id;
    appliance.attach(id).await;
    appliance.detach(id).await;
    assert!(appliance.stop().await.success());
    let lines = appliance.log_lines();
    assert!(lines.len() > 5);
    assert!(
        lines
            .iter()
            .all(|line| line["timestamp"].is_string() && line["level"].is_string())
    );
    let answered: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "answered")
        .collect();
    assert!(
        answered.iter().all(|line| line["span"]["request_id"].is_string()),
        "{answered:#?}"
    );
    assert!(answered.iter().any(|line| line["span"]["request_id"] == given));
    let ended = |line: &&serde_json::Value| line["message"] == "operation ended" && line["kind"] == "attach";
    assert_eq!(lines.iter().filter(ended).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.unset.push("NO_COLOR");
    appliance.start().await;
    assert!(appliance.stop().await.success());
    let log = appliance.log();
    assert!(log.contains("ready") && !log.contains('\u{1b}'), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_serves_on_loopback_tcp_when_told() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.listen = Some("127.0.0.1:0".into());
    appliance.setup.log_format = "json";
    appliance.start().await;
    let lines = appliance.log_lines();
    let address = lines
        .iter()
        .find_map(|line| line["address"].as_str())
        .expect("the address is logged");
    let client = VolumedClient::http(format!("http://{address}")).unwrap();
    assert_eq!(client.status().await.unwrap().vm_id, VM);
    let new = NewVolume {
        name: "by tcp".into(),
        size_bytes: MIB,
        source: None,
    };
    client.create_volume_and_wait(&new, DEFAULT_WAIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_told_to_stop_ends_in_time_and_the_next_one_finishes_its_work() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let mut volumes = Vec::new();
    for n in 0..12 {
        volumes.push(appliance.create(&format!("disk {n}"), MIB).await.id);
    }
    let attach = AttachVolume { vm_id: VM.into() };
    let mut operations = Vec::new();
    for &id in &volumes {
        operations.push(client.attach_volume(id, &attach).await.unwrap().id);
    }
    // Somebody waits for events and for an operation meanwhile: that must not hold the end up.
    let raw = appliance.raw();
    let following =
        tokio::spawn(async move { raw.try_send(raw.request(Method::GET, "/api/v1/events")).await });
    let began = Instant::now();
    assert!(appliance.stop().await.success(), "{}", appliance.log());
    assert!(began.elapsed().as_secs() < 20, "it took {:?}", began.elapsed());
    let _ = following.await;
    assert!(!appliance.setup.socket.exists());

    appliance.start().await;
    for (&volume, &operation) in volumes.iter().zip(&operations) {
        client.wait_for_completion(operation, DEFAULT_WAIT).await.unwrap();
        assert_eq!(client.volume(volume).await.unwrap().state, VolumeState::InUse);
        client.volume_device(volume).await.unwrap();
    }
    assert_eq!(appliance.loops().len(), volumes.len());
    // SIGINT does the same.
    appliance.signal(Signal::INT);
    assert!(appliance.ended().await.success());
    assert_eq!(appliance.loops().len(), volumes.len(), "a stop detaches nothing");
    appliance.start().await;
    for &volume in &volumes {
        appliance.detach(volume).await;
    }
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_what_happened_and_what_to_do() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let socket = appliance.setup.socket.clone();
    let made = volumectl(
        &socket,
        ["--json", "volumes", "create", "by hand", "--size", "8MiB"],
    );
    assert_eq!(made.code, Some(0), "{made:#?}");
    let attached = volumectl(&socket, ["attach", "by hand"]);
    assert_eq!(attached.code, Some(0), "{attached:#?}");
    let device = volumectl(&socket, ["--json", "device", "by hand"]).json();
    let path = device["device_path"].as_str().unwrap();
    assert_eq!(appliance.loops(), [path]);
    let mappings = volumectl(&socket, ["mappings"]);
    assert!(mappings.stdout.contains(path), "{mappings:#?}");

    let twice = volumectl(&socket, ["attach", "by hand"]);
    assert_eq!(twice.code, Some(1));
    assert!(
        twice.stdout.is_empty() && twice.stderr.contains("already"),
        "{twice:#?}"
    );
    assert!(twice.stderr.contains("hint"), "{twice:#?}");
    assert_eq!(volumectl(&socket, ["attach", "nobody"]).code, Some(1));
    assert_eq!(volumectl(&socket, ["attach"]).code, Some(2));
    assert_eq!(volumectl(&socket, ["detach", "by hand"]).code, Some(0));
    assert_eq!(volumectl(&socket, ["status"]).code, Some(0));
    assert!(appliance.stop().await.success());
    let away = volumectl(&socket, ["volumes"]);
    assert_eq!(away.code, Some(3), "{away:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_comes_over_tls_with_a_token() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let print = make_certificate(appliance.dir(), "daemon", 30);
    make_certificate(appliance.dir(), "client", 30);
    let path = |name: &str| appliance.dir().join(name).display().to_string();
    let (cert, key, client_cert, client_key) = (
        path("daemon.cert"),
        path("daemon.key"),
        path("client.cert"),
        path("client.key"),
    );
    let token_file = path("token");
    appliance.setup.listen = Some("0.0.0.0:0".to_owned());
    appliance.setup.log_format = "json";
    appliance.setup.environment.extend([
        ("VOLUMED_TLS_CERTIFICATE", cert.clone()),
        ("VOLUMED_TLS_KEY", key),
        ("VOLUMED_TLS_CLIENT_CA", client_cert.clone()),
    ]);
    appliance.start().await;
    let lines = appliance.log_lines();
    let address = lines.iter().find_map(|line| line["address"].as_str()).unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let socket = appliance.setup.socket.clone();
    let made = volumectl(&socket, ["tokens", "create", "ci", "--scope", "read"]);
    std::fs::write(&token_file, &made.stdout).unwrap();

    let over = |url: &str, arguments: &[&str]| {
        let mut command = Command::new(binary("volumectl"));
        command.env_remove("VOLUMED_SOCKET").env("VOLUMED_URL", url);
        Outcome::of(command.args(arguments))
    };
    let url = format!("https://127.0.0.1:{port}");
    let token = ["--token-file", &token_file];
    for whom in [["--fingerprint", &print], ["--ca-file", &cert]] {
        let asked = over(&url, &[&whom[..], &token, &["volumes"]].concat());
        assert_eq!(asked.code, Some(0), "{asked:#?}");
    }
    let named = [
        "--ca-file",
        &cert,
        "--certificate",
        &client_cert,
        "--key",
        &client_key,
    ];
    let refused = over(
        &url,
        &[&named[..], &token, &["volumes", "create", "x", "--size", "1MiB"]].concat(),
    );
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused.stderr.contains("operate"),
        "the token may only read: {refused:#?}"
    );
    let log = appliance.log();
    assert!(
        log.contains("token:ci tcp:127.0.0.1") && log.contains("cert:localhost"),
        "{log}"
    );

    let other = "AB:".repeat(31) + "AB";
    for (what, whom, word) in [
        ("nobody is believed", vec![], "not to be believed"),
        (
            "another is believed",
            vec!["--fingerprint", &other],
            print.as_str(),
        ),
    ] {
        let refused = over(&url, &[&whom[..], &token, &["volumes"]].concat());
        assert_eq!(refused.code, Some(1), "{what}: {refused:#?}");
        assert!(refused.stderr.contains(word), "{what}: {refused:#?}");
        assert!(
            refused.stderr.contains("--fingerprint"),
            "what to do: {refused:#?}"
        );
    }
    let bare = over(&url, &["--ca-file", &cert, "volumes"]);
    assert!(bare.stderr.contains("token"), "{bare:#?}");
    let clear = over("http://192.0.2.1:8090", &["volumes"]);
    assert_eq!(clear.code, Some(2), "{clear:#?}");
    assert!(clear.stderr.contains("https://"), "{clear:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_is_found_again_by_those_who_wait() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let id = appliance.create("patient", MIB).await.id;
    let attach = AttachVolume { vm_id: VM.into() };
    let operation = client.attach_volume(id, &attach).await.unwrap().id;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait_for_completion(operation, DEFAULT_WAIT).await }
    });
    appliance.kill().await;
    appliance.start().await;
    assert!(waiting.await.unwrap().unwrap().attach_response().is_some());
    wait_until("one device", std::time::Duration::from_secs(5), async || {
        (appliance.loops().len() == 1).then_some(())
    })
    .await;
    appliance.detach(id).await;
}
