//! One contract, one suite: the same tests over both backends, with real loop devices and a real client.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod support;

use std::{os::unix::fs::symlink, sync::Arc};

use nbd_export::{
    Access::{ReadOnly, ReadWrite},
    ExportError, ExportName, ExportSource, ExportSpec, Exporter, Health, Idle,
    Withdrawal::{DropClients, WhenIdle},
    handshake,
};
use support::{
    client::{Client, Reader},
    device::{Loop, SIZE},
    server::{Home, marked},
    wait_until,
};

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod qemu_storage_daemon {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if super::support::able() {
                    let home = super::Home::new();
                    super::$test(&home.qemu().await, &home).await;
                }
            })*
        }
        mod nbd_server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if super::support::able() {
                    let home = super::Home::on_tcp();
                    super::$test(&home.nbd().await, &home).await;
                }
            })*
        }
    };
}

conformance!(
    a_published_device_is_read_and_written,
    publishing_again_is_the_same_export,
    a_taken_name_is_refused,
    a_device_has_one_export,
    an_unpublished_export_is_gone_and_its_device_free,
    unpublishing_the_unknown_succeeds,
    an_export_in_use_is_kept_unless_clients_are_dropped,
    a_wrong_size_is_refused,
    read_only_is_enforced_by_the_server,
    a_path_swapped_after_verification_never_serves_the_other_device,
    a_regular_file_can_be_exported,
    the_server_ends_when_idle_and_on_shutdown,
    a_dropped_publish_still_ends_in_a_known_state,
    concurrent_publishes_all_succeed,
);

fn name(text: &str) -> ExportName {
    ExportName::new(text).unwrap()
}

async fn a_published_device_is_read_and_written(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(0x11);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    assert_eq!((published.size, published.access), (SIZE, ReadWrite));
    assert_eq!(published.endpoint, exporter.endpoint(&name("vol-a")));
    let mut client = Client::connect(&published.endpoint).unwrap();
    assert_eq!(client.read(SIZE - 4096, 4096).unwrap(), [0x11; 4096]);
    client.write(8192, &[0x22; 4096]).unwrap();
    client.flush().unwrap();
    assert_eq!(client.read(8192, 4096).unwrap(), [0x22; 4096]);
    drop(client);
    exporter.unpublish(&name("vol-a"), WhenIdle).await.unwrap();
    assert_eq!(std::fs::read(&device.path).unwrap()[8192..12288], [0x22; 4096]);
}

async fn publishing_again_is_the_same_export(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(1);
    let first = exporter.publish(device.spec("vol-a", ReadOnly)).await.unwrap();
    let reader = Reader::start(&first.endpoint, 1);
    let again = exporter.publish(device.spec("vol-a", ReadOnly)).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(exporter.list().await.unwrap(), [name("vol-a")]);
    reader.finish().unwrap();
}

async fn a_taken_name_is_refused(exporter: &impl Exporter, _: &Home) {
    let (device, other) = (Loop::new(1), Loop::new(2));
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    for spec in [other.spec("vol-a", ReadWrite), device.spec("vol-a", ReadOnly)] {
        let error = exporter.publish(spec).await.unwrap_err();
        assert!(matches!(error, ExportError::NameTaken { .. }), "{error}");
    }
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
}

async fn a_device_has_one_export(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(1);
    exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    let error = exporter
        .publish(device.spec("vol-b", ReadOnly))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ExportError::SourceTaken { ref other, .. } if other == "vol-a"),
        "{error}"
    );
    assert_eq!(exporter.list().await.unwrap(), [name("vol-a")]);
}

async fn an_unpublished_export_is_gone_and_its_device_free(exporter: &impl Exporter, home: &Home) {
    let (device, other) = (Loop::new(1), Loop::new(2));
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    exporter.publish(other.spec("vol-b", ReadWrite)).await.unwrap();
    exporter.unpublish(&name("vol-a"), WhenIdle).await.unwrap();
    assert!(Client::connect(&published.endpoint).is_err());
    assert_eq!(exporter.list().await.unwrap(), [name("vol-b")]);
    assert_eq!(
        handshake::list(&home.listen.clone().into()).await.unwrap(),
        ["vol-b"]
    );
    assert!(holders(&device, home).is_empty());
    // The name is free for another device.
    exporter.unpublish(&name("vol-b"), WhenIdle).await.unwrap();
    let published = exporter.publish(other.spec("vol-a", ReadWrite)).await.unwrap();
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [2; 4]
    );
}

fn servers(home: &Home) -> Vec<i32> {
    [marked(&home.path("q")), marked(&home.path("n"))].concat()
}

/// Server processes that have the device open.
fn holders(device: &Loop, home: &Home) -> Vec<i32> {
    let mut pids = servers(home);
    pids.retain(|pid| {
        let Ok(links) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        links.flatten().any(|link| {
            let (open, device) = (
                rustix::fs::stat(link.path()),
                rustix::fs::stat(&device.path).unwrap(),
            );
            open.is_ok_and(|open| open.st_rdev == device.st_rdev)
        })
    });
    pids
}

async fn unpublishing_the_unknown_succeeds(exporter: &impl Exporter, _: &Home) {
    exporter.unpublish(&name("never-was"), WhenIdle).await.unwrap();
    exporter.unpublish(&name("never-was"), DropClients).await.unwrap();
    let device = Loop::new(1);
    exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    for _ in 0..2 {
        exporter.unpublish(&name("vol-a"), DropClients).await.unwrap();
    }
}

async fn an_export_in_use_is_kept_unless_clients_are_dropped(exporter: &impl Exporter, home: &Home) {
    let (device, other) = (Loop::new(1), Loop::new(2));
    let used = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    let bystander = exporter.publish(other.spec("vol-b", ReadWrite)).await.unwrap();
    let reader = Reader::start(&bystander.endpoint, 2);
    let mut client = Client::connect(&used.endpoint).unwrap();
    let error = exporter.unpublish(&name("vol-a"), WhenIdle).await.unwrap_err();
    assert!(matches!(error, ExportError::InUse { .. }), "{error}");
    assert_eq!(client.read(0, 4).unwrap(), [1; 4]);
    assert_eq!(
        Client::connect(&used.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
    exporter.unpublish(&name("vol-a"), DropClients).await.unwrap();
    assert!(client.read(0, 4).is_err(), "the dropped client still reads");
    assert!(holders(&device, home).is_empty());
    assert!(reader.finish().unwrap() > 0);
    assert_eq!(exporter.list().await.unwrap(), [name("vol-b")]);
}

async fn a_wrong_size_is_refused(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(1);
    assert!(ExportSource::new(&device.path, device.descriptor(), SIZE + 512).is_err());
    // Verified, then shrunk before it is published.
    let file = tempfile::Builder::new().tempfile_in("/tmp").unwrap();
    file.as_file().set_len(SIZE).unwrap();
    let descriptor: std::os::fd::OwnedFd = file.reopen().unwrap().into();
    let source = ExportSource::new(file.path(), descriptor, SIZE).unwrap();
    file.as_file().set_len(SIZE / 2).unwrap();
    let spec = ExportSpec {
        name: name("vol-a"),
        source,
        access: ReadOnly,
        allow: None,
    };
    let error = exporter.publish(spec).await.unwrap_err();
    assert!(matches!(error, ExportError::Source { .. }), "{error}");
    assert_eq!(exporter.list().await.unwrap(), []);
}

async fn read_only_is_enforced_by_the_server(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(1);
    let published = exporter.publish(device.spec("vol-a", ReadOnly)).await.unwrap();
    assert_eq!(published.access, ReadOnly);
    let mut client = Client::connect(&published.endpoint).unwrap();
    assert!(client.write(0, &[9; 512]).is_err());
    assert_eq!(
        Client::connect(&published.endpoint)
            .unwrap()
            .read(0, 512)
            .unwrap(),
        [1; 512]
    );
}

async fn a_path_swapped_after_verification_never_serves_the_other_device(
    exporter: &impl Exporter,
    home: &Home,
) {
    let (device, other) = (Loop::new(1), Loop::new(2));
    let path = home.path("disk");
    symlink(&device.path, &path).unwrap();
    let source = ExportSource::new(&path, device.descriptor(), SIZE).unwrap();
    let spec = ExportSpec {
        name: name("vol-a"),
        source,
        access: ReadWrite,
        allow: None,
    };
    let swap = |to: &Loop| {
        std::fs::remove_file(&path).unwrap();
        symlink(&to.path, &path).unwrap();
    };
    swap(&other);
    let error = exporter.publish(spec.clone()).await.unwrap_err();
    assert!(matches!(error, ExportError::Source { .. }), "{error}");
    // Swapped once the export is there: later clients still get the verified device.
    swap(&device);
    let published = exporter.publish(spec).await.unwrap();
    swap(&other);
    for _ in 0..3 {
        assert_eq!(
            Client::connect(&published.endpoint)
                .unwrap()
                .read(0, 512)
                .unwrap(),
            [1; 512]
        );
    }
}

async fn a_regular_file_can_be_exported(exporter: &impl Exporter, home: &Home) {
    let path = home.path("image.raw");
    std::fs::write(&path, [7; 65536]).unwrap();
    let descriptor: std::os::fd::OwnedFd = std::fs::File::open(&path).unwrap().into();
    let source = ExportSource::new(&path, Arc::new(descriptor), 65536).unwrap();
    let spec = ExportSpec {
        name: name("image"),
        source,
        access: ReadWrite,
        allow: None,
    };
    let published = exporter.publish(spec).await.unwrap();
    assert_eq!(
        Client::connect(&published.endpoint)
            .unwrap()
            .read(0, 512)
            .unwrap(),
        [7; 512]
    );
    exporter.unpublish(&name("image"), WhenIdle).await.unwrap();
}

async fn the_server_ends_when_idle_and_on_shutdown(exporter: &impl Exporter, home: &Home) {
    let device = Loop::new(1);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    assert!(matches!(
        exporter.health().await.unwrap(),
        Health::Serving { exports: 1, .. }
    ));
    assert_eq!(exporter.stop_if_idle().await.unwrap(), Idle::Serving(1));
    let mut client = Client::connect(&published.endpoint).unwrap();
    client.read(0, 512).unwrap();
    exporter.shutdown().await.unwrap();
    assert!(client.read(0, 512).is_err());
    assert_eq!(exporter.health().await.unwrap(), Health::Stopped);
    assert_eq!(servers(home), [] as [i32; 0]);
    exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    exporter.unpublish(&name("vol-a"), WhenIdle).await.unwrap();
    assert_eq!(exporter.stop_if_idle().await.unwrap(), Idle::Stopped);
    exporter.shutdown().await.unwrap();
    assert_eq!(servers(home), [] as [i32; 0]);
}

async fn a_dropped_publish_still_ends_in_a_known_state(exporter: &impl Exporter, _: &Home) {
    let device = Loop::new(1);
    // The first poll hands the command to its task; then the caller goes away.
    let mut publish = exporter.publish(device.spec("vol-a", ReadWrite));
    tokio::select! {
        biased;
        _ = &mut publish => {}
        () = std::future::ready(()) => {}
    }
    drop(publish);
    let published = exporter.publish(device.spec("vol-a", ReadWrite)).await.unwrap();
    assert_eq!(exporter.list().await.unwrap(), [name("vol-a")]);
    assert_eq!(
        Client::connect(&published.endpoint).unwrap().read(0, 4).unwrap(),
        [1; 4]
    );
}

async fn concurrent_publishes_all_succeed(exporter: &impl Exporter, home: &Home) {
    let devices: Vec<_> = (1..=4).map(Loop::new).collect();
    let spec = |index: usize| devices[index].spec(&format!("vol-{index}"), ReadWrite);
    let (a, b, c, d) = tokio::join!(
        exporter.publish(spec(0)),
        exporter.publish(spec(1)),
        exporter.publish(spec(2)),
        exporter.publish(spec(3)),
    );
    for (published, device) in [a, b, c, d].into_iter().zip(&devices) {
        let endpoint = published.unwrap().endpoint;
        assert_eq!(
            Client::connect(&endpoint).unwrap().read(0, 4).unwrap(),
            [device.fill; 4]
        );
    }
    assert_eq!(exporter.list().await.unwrap().len(), 4);
    exporter.unpublish(&name("vol-0"), DropClients).await.unwrap();
    wait_until("the withdrawn device is closed", || {
        holders(&devices[0], home).is_empty()
    });
}

#[test]
fn hostile_paths_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let plain = file.path().to_str().unwrap();
    let hostile = [
        "dev/loop0".to_owned(),
        format!("/tmp/..{plain}"),
        format!("{plain}\n[evil]"),
        format!("{plain}\0"),
        format!("{plain}\u{7f}"),
        String::new(),
        "/dev/null".to_owned(),
        "/nonexistent".to_owned(),
    ];
    for path in hostile {
        let descriptor: std::os::fd::OwnedFd = file.reopen().unwrap().into();
        assert!(
            ExportSource::new(&path, descriptor, 0).is_err(),
            "{path:?} was accepted"
        );
    }
    let null: std::os::fd::OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    assert!(
        ExportSource::new("/dev/null", null, 0).is_err(),
        "a character device was accepted"
    );
}
