//! TLS and allow-lists: real servers, and clients that are not ours (`nbdinfo`, `nbdcopy`) with right and wrong papers.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod support;

use std::{
    fs,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use nbd_export::{
    Access::ReadWrite,
    AllowList, ExportError, ExportName, ExportSpec, Exporter, Health, Idle, NbdEndpoint, NbdServer,
    NbdServerConfig, QemuStorageDaemon, QemuStorageDaemonConfig, Tls,
    Withdrawal::{DropClients, WhenIdle},
};
use support::{
    able,
    client::Client,
    device::{Loop, SIZE},
    pki::{Authority, secret},
    server::{Home, kill, marked},
    wait_until,
};

/// What a client says where it is told to be `folder`'s.
fn uri(endpoint: &NbdEndpoint, folder: &Path) -> String {
    let uri = endpoint.uri();
    let sign = if uri.contains('?') { '&' } else { '?' };
    format!(
        "{uri}{sign}tls-certificates={}&tls-hostname=localhost",
        folder.display()
    )
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn info(uri: &str) -> Output {
    command("nbdinfo", &["--size", uri]).output().unwrap()
}

fn is_let_in(endpoint: &NbdEndpoint, folder: &Path) -> bool {
    info(&uri(endpoint, folder)).status.success()
}

/// That the bytes come through, by a client that is not ours.
fn assert_read(endpoint: &NbdEndpoint, folder: &Path, device: &Loop, home: &Home) {
    let copy = home.path("copied");
    let output = command("nbdcopy", &[&uri(endpoint, folder), copy.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(copy).unwrap(), fs::read(&device.path).unwrap());
}

fn name(text: &str) -> ExportName {
    ExportName::new(text).unwrap()
}

fn allowed(parties: &[&str]) -> Option<AllowList> {
    Some(parties.iter().map(|party| party.parse().unwrap()).collect())
}

fn spec(device: &Loop, name: &str, parties: &[&str]) -> ExportSpec {
    ExportSpec {
        allow: allowed(parties),
        ..device.spec(name, ReadWrite)
    }
}

fn qemu(home: &Home, tls: Tls) -> QemuStorageDaemonConfig {
    QemuStorageDaemonConfig {
        tls: Some(tls),
        ..home.qemu_config()
    }
}

/// Whoever has no papers, or wrong ones, gets nothing; the right one gets the right bytes.
async fn papers_are_looked_at(exporter: &impl Exporter, home: &Home, authority: &Authority) {
    let device = Loop::new(0x11);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    let endpoint = &published.endpoint;
    let good = authority.client("backup", 2100);
    assert_read(endpoint, &good, &device, home);
    let plain = endpoint.uri().replacen("nbds", "nbd", 1);
    let output = info(&plain);
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("TLS"),
        "{output:?}"
    );
    assert!(
        !is_let_in(endpoint, &authority.client("late", 2001)),
        "an expired certificate was taken"
    );
    let stranger = Authority::new(&home.path("stranger")).client("backup", 2100);
    assert!(
        !is_let_in(endpoint, &stranger),
        "the client took a server of another authority"
    );
    fs::copy(good.join("ca-cert.pem"), stranger.join("ca-cert.pem")).unwrap();
    assert!(
        !is_let_in(endpoint, &stranger),
        "a certificate of another authority was taken"
    );
    let nobody = authority.client("nobody", 2100);
    for file in ["client-cert.pem", "client-key.pem"] {
        fs::remove_file(nobody.join(file)).unwrap();
    }
    assert!(
        !is_let_in(endpoint, &nobody),
        "a client without a certificate was taken"
    );
    assert!(matches!(
        exporter.health().await.unwrap(),
        Health::Serving { exports: 1, .. }
    ));
    exporter.unpublish(&name("vol-a"), WhenIdle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn papers_are_looked_at_by_qemu_storage_daemon() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let authority = Authority::new(&home.path("pki"));
    let exporter = QemuStorageDaemon::connect_or_start(qemu(&home, authority.server()))
        .await
        .unwrap();
    papers_are_looked_at(&exporter, &home, &authority).await;
    assert_nothing_secret(&home, "q", &authority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn papers_are_looked_at_by_nbd_server() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let authority = Authority::new(&home.path("pki"));
    let config = NbdServerConfig {
        tls: Some(authority.server()),
        ..home.nbd_config()
    };
    let exporter = NbdServer::connect_or_start(config).await.unwrap();
    papers_are_looked_at(&exporter, &home, &authority).await;
    let device = Loop::new(3);
    exporter.publish(device.spec("vol-b", ReadWrite)).await.unwrap();
    assert_nothing_secret(&home, "n", &authority);
}

/// Keys stand in their files only.
fn assert_nothing_secret(home: &Home, runtime: &str, authority: &Authority) {
    let Tls::Certificates { folder, .. } = authority.server() else {
        unreachable!()
    };
    let key = fs::read_to_string(folder.join("server-key.pem")).unwrap();
    let line = key.lines().nth(1).unwrap().to_owned();
    let servers = marked(&home.path(runtime));
    assert!(!servers.is_empty());
    let mut written: Vec<_> = servers
        .iter()
        .map(|pid| format!("/proc/{pid}/cmdline").into())
        .collect();
    written.extend(
        fs::read_dir(home.path(runtime))
            .unwrap()
            .flatten()
            .map(|entry| entry.path()),
    );
    for path in written
        .into_iter()
        .filter(|path: &std::path::PathBuf| path.is_file())
    {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.contains(&line) && !text.contains("PRIVATE KEY"),
            "{}",
            path.display()
        );
    }
}

/// A copy that a client, not ours, has begun, and goes on with when it is drained.
struct Copying(Child);

impl Copying {
    fn begun(endpoint: &NbdEndpoint, folder: &Path) -> Self {
        let mut child = command("nbdcopy", &[&uri(endpoint, folder), "-"])
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    /// The rest of what it copies.
    fn drained(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        assert!(self.0.wait().unwrap().success(), "the transfer was broken off");
        rest
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_export_of_qemu_storage_daemon_has_a_list_of_its_own() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let authority = Authority::new(&home.path("pki"));
    let config = qemu(&home, authority.server());
    let exporter = QemuStorageDaemon::connect_or_start(config.clone()).await.unwrap();
    let (one, other, open) = (Loop::new(1), Loop::new(2), Loop::new(3));
    let (alice, bob) = (authority.client("alice", 2100), authority.client("bob", 2100));
    let a = exporter
        .publish(spec(&one, "vol-a", &["O=acme,CN=alice"]))
        .await
        .unwrap()
        .endpoint;
    let b = exporter
        .publish(spec(&other, "vol-b", &["O=acme,CN=bob"]))
        .await
        .unwrap()
        .endpoint;
    let c = exporter
        .publish(open.spec("vol-c", ReadWrite))
        .await
        .unwrap()
        .endpoint;
    assert_eq!(a, exporter.endpoint(&name("vol-a")));
    assert_read(&a, &alice, &one, &home);
    assert_read(&b, &bob, &other, &home);
    assert!(
        !is_let_in(&a, &bob) && !is_let_in(&b, &alice),
        "let in to another's export"
    );
    assert!(is_let_in(&c, &alice) && is_let_in(&c, &bob));
    // By another's server, and by the one for all.
    for server in [&a, &c] {
        let elsewhere = NbdEndpoint {
            name: name("vol-b"),
            ..server.clone()
        };
        assert!(!is_let_in(&elsewhere, &alice));
    }
    assert_eq!(
        exporter.list().await.unwrap(),
        ["vol-a", "vol-b", "vol-c"].map(name)
    );
    assert!(matches!(
        exporter.health().await.unwrap(),
        Health::Serving { exports: 3, .. }
    ));
    // The list changes under a transfer: that goes on, who comes next is let in by the new one.
    let copying = Copying::begun(&a, &alice);
    let again = exporter
        .publish(spec(&one, "vol-a", &["O=acme,CN=bob"]))
        .await
        .unwrap();
    assert_eq!(again.endpoint, a);
    assert!(is_let_in(&a, &bob) && !is_let_in(&a, &alice));
    assert_eq!(copying.drained(), fs::read(&one.path).unwrap()[1..]);
    // What would have to move is refused.
    let error = exporter.publish(one.spec("vol-a", ReadWrite)).await.unwrap_err();
    assert!(matches!(error, ExportError::NameTaken { .. }), "{error}");
    let error = exporter
        .publish(spec(&one, "vol-d", &["CN=x"]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExportError::SourceTaken { ref other, .. } if other == "vol-a"),
        "{error}"
    );
    // Its server dies: the same order brings it back, and the other exports never noticed.
    marked(&home.path("q/own-0")).into_iter().for_each(kill);
    wait_until("its server has ended", || {
        marked(&home.path("q/own-0")).is_empty()
    });
    assert_eq!(exporter.list().await.unwrap(), ["vol-b", "vol-c"].map(name));
    let again = exporter
        .publish(spec(&one, "vol-a", &["O=acme,CN=alice"]))
        .await
        .unwrap();
    assert_eq!(again.endpoint, a, "it is where its clients look for it");
    assert_read(&again.endpoint, &alice, &one, &home);
    assert!(!is_let_in(&again.endpoint, &bob));
    // Withdrawn also by somebody whose certificates are gone.
    fs::remove_file(config.tls.as_ref().unwrap().folder().join("server-key.pem")).unwrap();
    let later = QemuStorageDaemon::existing(config).unwrap();
    for export in ["vol-a", "vol-b", "vol-c"] {
        later.unpublish(&name(export), DropClients).await.unwrap();
    }
    assert_eq!(later.stop_if_idle().await.unwrap(), Idle::Stopped);
    for runtime in ["q", "q/own-0", "q/own-1"] {
        assert_eq!(marked(&home.path(runtime)), [] as [i32; 0], "{runtime}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pre_shared_keys_let_in_whoever_has_one() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let folder = home.path("psk");
    fs::create_dir(&folder).unwrap();
    let (right, wrong) = ("5c".repeat(32), "6d".repeat(32));
    secret(&folder.join("keys.psk"), &format!("alice:{right}\n"));
    let exporter = QemuStorageDaemon::connect_or_start(qemu(
        &home,
        Tls::Keys {
            folder: folder.clone(),
        },
    ))
    .await
    .unwrap();
    let device = Loop::new(7);
    for _ in 0..2 {
        exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    }
    let endpoint = exporter.endpoint(&name("vol-a"));
    secret(&home.path("wrong.psk"), &format!("alice:{wrong}\n"));
    let known = |file: &Path| {
        let address = endpoint.uri().replace("nbds://", "nbds://alice@");
        info(&format!("{address}?tls-psk-file={}", file.display()))
    };
    let output = known(&folder.join("keys.psk"));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        SIZE.to_string(),
        "{output:?}"
    );
    assert!(!known(&home.path("wrong.psk")).status.success());
    assert!(Client::connect(&endpoint).is_err(), "served without TLS");
    assert!(matches!(
        exporter.health().await.unwrap(),
        Health::Serving { exports: 1, .. }
    ));
    let error = exporter
        .publish(spec(&Loop::new(1), "vol-b", &["CN=alice"]))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::AllowList { .. }), "{error}");
    for pid in marked(&home.path("q")) {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(&right));
    }
    let config = NbdServerConfig {
        tls: Some(Tls::Keys { folder }),
        ..home.nbd_config()
    };
    let error = NbdServer::connect_or_start(config).await.unwrap_err();
    assert!(error.to_string().contains("no pre-shared keys"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nbd_server_lets_in_addresses_of_each_exports_list() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let exporter = home.nbd().await;
    let (one, other) = (Loop::new(1), Loop::new(2));
    let a = exporter
        .publish(spec(&one, "vol-a", &["127.0.0.2"]))
        .await
        .unwrap()
        .endpoint;
    let b = exporter
        .publish(spec(&other, "vol-b", &["127.0.3.0/24"]))
        .await
        .unwrap()
        .endpoint;
    let from = |endpoint: &NbdEndpoint, address: [u8; 4]| {
        Client::connect_from(endpoint, SocketAddr::from((Ipv4Addr::from(address), 0)))
    };
    let mut reading = from(&a, [127, 0, 0, 2]).unwrap();
    assert_eq!(from(&b, [127, 0, 3, 200]).unwrap().read(0, 4).unwrap(), [2; 4]);
    for (endpoint, address) in [(&a, [127, 0, 3, 1]), (&a, [127, 0, 0, 3]), (&b, [127, 0, 0, 2])] {
        assert!(
            from(endpoint, address).is_err(),
            "{address:?} was let in to {}",
            endpoint.name
        );
    }
    // Another list, at once and without a new master; who is connected stays.
    let starts = exporter.master_starts();
    exporter
        .publish(spec(&one, "vol-a", &["127.0.0.3"]))
        .await
        .unwrap();
    assert!(from(&a, [127, 0, 0, 3]).is_ok() && from(&a, [127, 0, 0, 2]).is_err());
    exporter.publish(one.spec("vol-a", ReadWrite)).await.unwrap();
    assert!(from(&a, [127, 0, 0, 2]).is_ok());
    assert_eq!(reading.read(4096, 4).unwrap(), [1; 4]);
    assert_eq!(exporter.master_starts(), starts);
    let error = exporter
        .publish(spec(&one, "vol-a", &["CN=alice"]))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::AllowList { .. }), "{error}");
    // The list outlives the master.
    kill(exporter.pid().unwrap());
    wait_until("the master is replaced", || exporter.master_starts() > starts);
    wait_until("the listed one is served again", || {
        from(&b, [127, 0, 3, 7]).is_ok()
    });
    assert!(from(&b, [127, 0, 0, 2]).is_err());
    drop(reading);
    for export in ["vol-a", "vol-b"] {
        exporter.unpublish(&name(export), DropClients).await.unwrap();
    }
    assert_eq!(fs::read_dir(home.path("export.d")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused_before_anything_starts() {
    if !able() {
        return;
    }
    let mut home = Home::on_tcp();
    let exporter = home.qemu().await;
    let device = Loop::new(1);
    for party in ["CN=alice", "10.0.0.0/8"] {
        let error = exporter
            .publish(spec(&device, "vol-a", &[party]))
            .await
            .unwrap_err();
        assert!(matches!(error, ExportError::AllowList { .. }), "{error}");
    }
    exporter.shutdown().await.unwrap();
    home.listen = nbd_export::NbdAddress::Tcp("0.0.0.0:10809".parse().unwrap());
    let error = QemuStorageDaemon::connect_or_start(home.qemu_config())
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::NeedsTls { .. }), "{error}");
    let error = NbdServer::connect_or_start(home.nbd_config()).await.unwrap_err();
    assert!(matches!(error, ExportError::NeedsTls { .. }), "{error}");
    let tls = Authority::new(&home.path("pki")).server();
    fs::remove_file(tls.folder().join("server-key.pem")).unwrap();
    let error = QemuStorageDaemon::connect_or_start(qemu(&home, tls))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::Credentials(_)), "{error}");
    assert_eq!(marked(&home.path("q")), [] as [i32; 0]);
    assert_eq!(marked(&home.path("n")), [] as [i32; 0]);
}
