//! The daemon's doors: client certificates, certificates that are replaced while it runs, the group of its socket, callers that
//! ask too often or send too slowly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use volume_client::types::{CheckStatus, ErrorCode};
use whole_system_tests::{Appliance, Outcome, binary, make_certificate, plain_http, volumectl, wait_until};

/// The address that the daemon says it listens on.
fn address(appliance: &Appliance) -> String {
    let lines = appliance.log_lines();
    let address = lines.iter().find_map(|line| line["address"].as_str());
    address.expect("the address is logged").to_owned()
}

/// A daemon on TCP with these keys of its configuration.
async fn on_tcp(keys: impl IntoIterator<Item = (&'static str, String)>) -> Option<(Appliance, String)> {
    let mut appliance = Appliance::new()?;
    appliance.setup.listen = Some("127.0.0.1:0".to_owned());
    appliance.setup.log_format = "json";
    appliance.setup.environment.extend(keys);
    appliance.start().await;
    let address = address(&appliance);
    Some((appliance, address))
}

/// A daemon on TLS that wants certificates of its clients, and its token's file.
struct Guarded {
    appliance: Appliance,
    url: String,
    fingerprint: String,
}

impl Guarded {
    async fn start() -> Option<Self> {
        let mut appliance = Appliance::new()?;
        let dir = appliance.dir().to_owned();
        let fingerprint = make_certificate(&dir, "daemon", 30);
        make_certificate(&dir, "client", 30);
        make_certificate(&dir, "stranger", 30);
        let path = |name: &str| dir.join(name).display().to_string();
        appliance.setup.listen = Some("127.0.0.1:0".to_owned());
        appliance.setup.log_format = "json";
        appliance.setup.environment.extend([
            ("VOLUMED_TLS_CERTIFICATE", path("daemon.cert")),
            ("VOLUMED_TLS_KEY", path("daemon.key")),
            ("VOLUMED_TLS_CLIENT_CA", path("client.cert")),
            ("VOLUMED_TLS_CLIENT_CERTIFICATES", "required".to_owned()),
        ]);
        appliance.start().await;
        let made = volumectl(
            &appliance.setup.socket,
            ["tokens", "create", "ci", "--scope", "read"],
        );
        std::fs::write(dir.join("token"), &made.stdout).unwrap();
        Some(Self {
            url: format!("https://{}", address(&appliance)),
            appliance,
            fingerprint,
        })
    }

    /// Lists the volumes as somebody who shows the certificate of this name, believing this fingerprint.
    fn ask(&self, name: Option<&str>, fingerprint: &str) -> Outcome {
        let path = |name: &str| self.appliance.dir().join(name);
        let mut command = Command::new(binary("volumectl"));
        command.env_remove("VOLUMED_SOCKET").env("VOLUMED_URL", &self.url);
        command.args(["--fingerprint", fingerprint]);
        command.arg("--token-file").arg(path("token"));
        if let Some(name) = name {
            command.arg("--certificate").arg(path(&format!("{name}.cert")));
            command.arg("--key").arg(path(&format!("{name}.key")));
        }
        Outcome::of(command.arg("volumes"))
    }

    /// Makes the daemon's certificate anew and returns its fingerprint.
    fn renew(&self, days: u32) -> String {
        make_certificate(self.appliance.dir(), "daemon", days)
    }

    /// How long it takes until this certificate is shown.
    async fn shown(&self, fingerprint: &str) -> Duration {
        let began = Instant::now();
        wait_until("the new certificate", Duration::from_secs(30), async || {
            let asked = self.ask(Some("client"), fingerprint);
            (asked.code == Some(0)).then_some(())
        })
        .await;
        began.elapsed()
    }

    /// The days until the certificate expires, as the metrics have it.
    async fn days_left(&self) -> i64 {
        let metrics = self.appliance.client().metrics().await.unwrap();
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix("volumed_certificate_expiry_timestamp_seconds "));
        let at: f64 = value.expect("it is told").parse().unwrap();
        #[allow(clippy::cast_possible_truncation, reason = "seconds of this century")]
        let left = at as i64 - jiff::Timestamp::now().as_second();
        (left + 43_200) / 86_400
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_must_show_certificates_nobody_else_comes_in() {
    let Some(guarded) = Guarded::start().await else {
        return;
    };
    let known = guarded.ask(Some("client"), &guarded.fingerprint);
    assert_eq!(known.code, Some(0), "{known:#?}");
    for name in [None, Some("stranger")] {
        let refused = guarded.ask(name, &guarded.fingerprint);
        assert!(
            refused.code.is_some_and(|code| code != 0),
            "{name:?}: {refused:#?}"
        );
        assert!(refused.stdout.is_empty(), "{name:?}: {refused:#?}");
    }
}

/// Its files are looked at every ten seconds by itself: two changes within less are seen only because of the signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let Some(guarded) = Guarded::start().await else {
        return;
    };
    assert_eq!(guarded.days_left().await, 30);
    let mut took = Duration::ZERO;
    let mut former = guarded.fingerprint.clone();
    for days in [40, 5] {
        let renewed = guarded.renew(days);
        guarded.appliance.signal(Signal::HUP);
        took += guarded.shown(&renewed).await;
        assert_eq!(guarded.days_left().await, i64::from(days));
        let refused = guarded.ask(Some("client"), &former);
        assert_ne!(
            refused.code,
            Some(0),
            "the former one is shown no more: {refused:#?}"
        );
        former = renewed;
    }
    assert!(
        took < Duration::from_secs(9),
        "the signal was not heard: {took:?}"
    );
    let report = guarded.appliance.client().doctor().await.unwrap();
    let check = report
        .checks
        .iter()
        .find(|check| check.name == "certificate")
        .unwrap();
    assert_eq!(check.status, CheckStatus::Warning, "{check:?}");

    // Files that do not belong together leave what was shown.
    let key = guarded.appliance.dir().join("daemon.key");
    std::fs::copy(guarded.appliance.dir().join("client.key"), &key).unwrap();
    guarded.appliance.signal(Signal::HUP);
    wait_until("the mistake to be told", Duration::from_secs(10), async || {
        let log = guarded.appliance.log();
        log.contains("the certificate stays as it was").then_some(())
    })
    .await;
    assert_eq!(guarded.ask(Some("client"), &former).code, Some(0));
    let renewed = guarded.renew(60);
    guarded.shown(&renewed).await;
    assert_eq!(guarded.days_left().await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_sockets_group_may_do_what_the_configuration_says() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let read = ("VOLUMED_HTTP_SOCKET_SCOPE", "read".to_owned());
    appliance.setup.environment.push(read);
    appliance.start().await;
    std::fs::set_permissions(appliance.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // `nobody`, in the group that the socket belongs to.
    let status_of = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.uid(65_534).gid(0).current_dir("/");
        command.arg("--unix-socket").arg(&appliance.setup.socket);
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]);
        Outcome::of(command.args(arguments)).stdout
    };
    let volumes = "http://volumed/api/v1/volumes";
    let new = r#"{"name":"a","size_bytes":1048576}"#;
    let post = ["-H", "content-type: application/json", "-d", new, volumes];
    assert_eq!(status_of(&[volumes]), "200");
    assert_eq!(status_of(&post), "403");
    // Root may do everything all the same.
    appliance.create("a", 1 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let keys = [("VOLUMED_HTTP_REQUESTS_PER_SECOND", "1".to_owned())];
    let Some((appliance, address)) = on_tcp(keys).await else {
        return;
    };
    let http = plain_http();
    let url = format!("http://{address}/api/v1/status");
    let mut refused = None;
    for _ in 0..20 {
        let answer = http.get(&url).send().await.unwrap();
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty at once are more than two");
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let problem: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "rate_limited");
    // Root on the Unix socket is not counted.
    for _ in 0..20 {
        appliance.client().status().await.unwrap();
    }
    let told = Duration::from_secs(wait);
    wait_until("it may ask again, as it was told", told, async || {
        let answer = http.get(&url).send().await.unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_told_so_and_changes_nothing() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let second = ("VOLUMED_HTTP_BODY_TIMEOUT_SECONDS", "1".to_owned());
    appliance.setup.environment.push(second);
    appliance.start().await;
    let mut slow = UnixStream::connect(&appliance.setup.socket).await.unwrap();
    let head =
        "POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let begun = format!("{head}content-length: 33\r\n\r\n{{\"name\":\"a\",");
    slow.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = slow.read_to_string(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains(ErrorCode::BodyTooSlow.as_str()), "{answer}");
    let listed = volumectl(&appliance.setup.socket, ["--json", "volumes"]);
    assert!(!listed.stdout.contains("\"name\""), "{listed:#?}");
}
