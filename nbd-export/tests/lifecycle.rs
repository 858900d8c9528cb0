//! Servers that die, are shared, are stale, or find their address taken.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod support;

use std::net::TcpListener;

use nbd_export::{
    Access::ReadWrite, ExportError, ExportName, Exporter, Health, NbdAddress, NbdServer, NbdServerConfig,
    QemuStorageDaemon, QemuStorageDaemonConfig, Withdrawal::DropClients,
};
use support::{
    able,
    client::{Client, Reader},
    device::Loop,
    server::{Home, free_port, kill, marked},
    wait_until,
};

fn name(text: &str) -> ExportName {
    ExportName::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_qemu_storage_daemon() {
    if !able() {
        return;
    }
    let home = Home::new();
    let (first, second) = tokio::join!(home.qemu(), home.qemu());
    assert_eq!(first.pid(), second.pid());
    assert_eq!(marked(&home.path("q")).len(), 1);
    let device = Loop::new(1);
    let published = first.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    drop(first);
    assert_eq!(second.list().await.unwrap(), [name("vol-a")]);
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
    let elsewhere = QemuStorageDaemonConfig {
        listen: free_port(),
        ..home.qemu_config()
    };
    let error = QemuStorageDaemon::connect_or_start(elsewhere).await.unwrap_err();
    assert!(matches!(error, ExportError::Config { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_qemu_storage_daemon_is_replaced_and_strangers_are_spared() {
    if !able() {
        return;
    }
    let home = Home::new();
    let exporter = home.qemu().await;
    let dead = exporter.pid().unwrap();
    kill(dead);
    wait_until("the daemon ends", || exporter.pid().is_none());
    assert_eq!(exporter.health().await.unwrap(), Health::Stopped);
    assert_eq!(exporter.list().await.unwrap(), []);
    // The pid file now names a stranger: this very process.
    std::fs::write(home.path("q").join("pid"), std::process::id().to_string()).unwrap();
    exporter.shutdown().await.unwrap();
    let device = Loop::new(1);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    assert_ne!(exporter.pid(), Some(dead));
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_said_clearly_and_nothing_stays_running() {
    if !able() {
        return;
    }
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut home = Home::new();
    home.listen = NbdAddress::Tcp(stranger.local_addr().unwrap());
    let error = QemuStorageDaemon::connect_or_start(home.qemu_config())
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::AddressInUse { .. }), "{error}");
    let exporter = home.nbd().await;
    let device = Loop::new(1);
    let error = exporter
        .publish(device.spec("vol-a", ReadWrite))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::AddressInUse { .. }), "{error}");
    assert_eq!(exporter.list().await.unwrap(), []);
    assert_eq!(
        [marked(&home.path("q")), marked(&home.path("n"))].concat(),
        [] as [i32; 0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_said_clearly() {
    if !able() {
        return;
    }
    let home = Home::new();
    let qemu = QemuStorageDaemonConfig {
        program: "/nonexistent/qsd".into(),
        ..home.qemu_config()
    };
    let error = QemuStorageDaemon::connect_or_start(qemu).await.unwrap_err();
    assert!(
        matches!(error, ExportError::Start { .. }) && error.to_string().contains("/nonexistent"),
        "{error}"
    );
    let nbd = NbdServerConfig {
        program: "/nonexistent/nbd".into(),
        ..home.nbd_config()
    };
    let exporter = NbdServer::connect_or_start(nbd).await.unwrap();
    let device = Loop::new(1);
    let error = exporter
        .publish(device.spec("vol-a", ReadWrite))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::Start { .. }), "{error}");
    assert_eq!(exporter.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nbd_server_is_replaced_by_itself_and_its_clients_go_on() {
    if !able() {
        return;
    }
    let home = Home::new();
    let exporter = home.nbd().await;
    let device = Loop::new(1);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    let reader = Reader::start(&published.endpoint, 1);
    let dead = exporter.pid().unwrap();
    kill(dead);
    wait_until("a new master serves", || {
        exporter.pid().is_some_and(|pid| pid != dead) && Client::connect(&published.endpoint).is_ok()
    });
    reader.finish().expect("the client lost its connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_of_a_former_process_are_adopted_only_for_the_same_device() {
    if !able() {
        return;
    }
    let home = Home::new();
    let (kept, lost) = (Loop::new(1), Loop::new(2));
    let exporter = home.nbd().await;
    let published = exporter.publish(kept.spec("kept", ReadWrite)).await.unwrap();
    exporter.publish(lost.spec("lost", ReadWrite)).await.unwrap();
    drop(exporter);
    // The device number is there again, but as another incarnation of the disk.
    let record = home.path("export.d").join("lost.conf");
    let text = std::fs::read_to_string(&record).unwrap();
    let line = text.lines().find(|line| line.starts_with("# identity")).unwrap();
    let (device, _) = line.rsplit_once('-').unwrap();
    std::fs::write(&record, text.replace(line, &format!("{device}-1"))).unwrap();
    let exporter = home.nbd().await;
    assert_eq!(exporter.list().await.unwrap(), [name("kept")]);
    assert!(Client::connect(&exporter.endpoint(&name("lost"))).is_err());
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
    exporter.unpublish(&name("kept"), DropClients).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_others_in_the_drop_in_directory_are_left_alone() {
    if !able() {
        return;
    }
    let home = Home::new();
    let exporter = home.nbd().await;
    let foreign = home.path("export.d").join("vol-a.conf");
    let text = format!("[vol-a]\n  exportname = {}\n", home.path("x").display());
    std::fs::write(&foreign, &text).unwrap();
    let device = Loop::new(1);
    let error = exporter
        .publish(device.spec("vol-a", ReadWrite))
        .await
        .unwrap_err();
    assert!(matches!(error, ExportError::NameTaken { .. }), "{error}");
    exporter.unpublish(&name("vol-a"), DropClients).await.unwrap();
    exporter.publish(device.spec("vol-b", ReadWrite)).await.unwrap();
    exporter.shutdown().await.unwrap();
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), text);
}
