//! A hundred exports come and go while one client reads from another export over one connection, never reconnecting.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod support;

use nbd_export::{
    Access::ReadWrite, ExportName, Exporter, NbdServer, NbdServerConfig, Reload, Withdrawal::WhenIdle,
};
use support::{
    able,
    client::{Client, Reader},
    device::Loop,
    server::Home,
};

const ROUNDS: u64 = 100;

/// Returns the reads the steady client did.
async fn rounds(exporter: &impl Exporter) -> u64 {
    let (steady, passing) = (Loop::new(0xaa), [Loop::new(0xbb), Loop::new(0xcc)]);
    let published = exporter.publish(steady.spec("steady", ReadWrite)).await.unwrap();
    let reader = Reader::start(&published.endpoint, 0xaa);
    for round in 0..ROUNDS {
        let device = &passing[usize::try_from(round % 2).unwrap()];
        let name = ExportName::new(format!("passing-{round}")).unwrap();
        let published = exporter
            .publish(device.spec(name.as_str(), ReadWrite))
            .await
            .unwrap();
        let read = Client::connect(&published.endpoint)
            .unwrap()
            .read(0, 512)
            .unwrap();
        assert_eq!(read, [device.fill; 512], "round {round}");
        exporter.unpublish(&name, WhenIdle).await.unwrap();
        assert!(
            Client::connect(&published.endpoint).is_err(),
            "round {round}: still served"
        );
    }
    reader.finish().expect("the steady client lost its connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_rounds_on_nbd_server_never_drop_a_client() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let exporter = home.nbd().await;
    let reads = rounds(&exporter).await;
    let starts = exporter.master_starts();
    eprintln!(
        "nbd-server: {ROUNDS} rounds, {reads} reads over one connection, 0 reconnects, {starts} master starts"
    );
    assert!(reads > ROUNDS);
    exporter.shutdown().await.unwrap();
}

/// Publishing alone and always by SIGHUP, so that the master meets one reload after the other: what 3.24 dies of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_that_kill_the_master_harm_neither_exports_nor_clients() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let config = NbdServerConfig {
        reload: Reload::Signal,
        ..home.nbd_config()
    };
    let exporter = NbdServer::connect_or_start(config).await.unwrap();
    let devices: Vec<_> = (1..=12).map(Loop::new).collect();
    let published = exporter
        .publish(devices[0].spec("vol-0", ReadWrite))
        .await
        .unwrap();
    let reader = Reader::start(&published.endpoint, 1);
    for (index, device) in devices.iter().enumerate() {
        exporter
            .publish(device.spec(&format!("vol-{index}"), ReadWrite))
            .await
            .unwrap();
        for (earlier, device) in devices[..=index].iter().enumerate() {
            let endpoint = exporter.endpoint(&ExportName::new(format!("vol-{earlier}")).unwrap());
            let read = Client::connect(&endpoint).unwrap().read(0, 512).unwrap();
            assert_eq!(
                read, [device.fill; 512],
                "vol-{earlier} after publishing vol-{index}"
            );
        }
    }
    let reads = reader.finish().expect("the client lost its connection");
    let starts = exporter.master_starts();
    eprintln!(
        "nbd-server: 12 publishes by reload, {reads} reads over one connection, {starts} master starts"
    );
    exporter.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_rounds_on_qemu_storage_daemon_never_drop_a_client() {
    if !able() {
        return;
    }
    let home = Home::on_tcp();
    let exporter = home.qemu().await;
    let pid = exporter.pid();
    let reads = rounds(&exporter).await;
    assert_eq!(exporter.pid(), pid, "the daemon was replaced");
    eprintln!("qemu-storage-daemon: {ROUNDS} rounds, {reads} reads over one connection, 0 reconnects");
    assert!(reads > ROUNDS);
    exporter.shutdown().await.unwrap();
}
