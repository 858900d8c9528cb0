//! What is asked of VMware's library, how a disk comes of it, and that nothing is left of it, whatever happens.

mod ends;
mod stand_in;
mod troubles;

use std::path::Path;
use std::sync::Arc;

use super::super::Thumbprint;
use super::arguments::{self, Paths};
use crate::block::{BlockRead, ExtentKnowledge};
use crate::config::VddkSettings;
use stand_in::{PASSWORD, SIZE, StandIn, login, place, read};

#[test]
fn nbdkit_is_told_what_the_library_needs_and_no_password() {
    let paths = Paths {
        socket: Path::new("/run/v/nbd"),
        pidfile: Path::new("/run/v/pid"),
        password: Path::new("/run/v/password"),
        end: Path::new("/run/v/end"),
    };
    let settings = VddkSettings::new("/opt/vddk".into());
    let told = arguments::of(&settings, &login(PASSWORD), &place(), &paths);
    let thumbprint = format!("thumbprint={}", Thumbprint::of(b"a certificate"));
    let expected = [
        "--foreground",
        "--readonly",
        "--unix=/run/v/nbd",
        "--pidfile=/run/v/pid",
        "--filter=exitwhen",
        "--filter=cacheextents",
        "--filter=blocksize",
        "--filter=retry",
        "vddk",
        "libdir=/opt/vddk",
        "server=vc.example",
        "port=8443",
        "user=root@vsphere.local",
        "password=+/run/v/password",
        &thumbprint,
        "vm=moref=vm-57",
        "snapshot=snapshot-70",
        "transports=nbdssl:nbd",
        "compression=skipz",
        "minblock=512",
        "maxdata=2M",
        "exit-when-file-created=/run/v/end",
        "exit-when-poll=1000000000",
        "retries=4",
        "retry-delay=2",
        "file=[data store] a=b/näme.vmdk",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_read_as_it_is_and_the_library_is_told_all_that_it_needs() {
    let Some(stand_in) = StandIn::new() else { return };
    stand_in.vddk().check().await.unwrap();
    let disk = stand_in.open().await.unwrap();
    assert_eq!((disk.size(), disk.max_workers()), (SIZE as u64, 1));
    assert_eq!(disk.extent_knowledge(), ExtentKnowledge::Known);
    // Twice, because a copy that begins anew opens another worker.
    for _ in 0..2 {
        assert!(read(&disk).unwrap() == stand_in.disk, "it differs");
    }
    let log = stand_in.log();
    let libdir = format!("libdir={}", stand_in.path().display());
    let thumbprint = format!("thumbprint={}", Thumbprint::of(b"a certificate"));
    for line in [
        "file=[data store] a=b/näme.vmdk",
        &libdir,
        "server=vc.example",
        "port=8443",
        "user=root@vsphere.local",
        &thumbprint,
        "vm=moref=vm-57",
        "snapshot=snapshot-70",
        "transports=nbdssl:nbd",
        "compression=skipz",
        "password=right, in a private file",
        "open readonly=1",
    ] {
        assert!(
            log.iter().any(|found| found == line),
            "{line} is missing: {log:#?}"
        );
    }
    let read_bytes: u64 = log
        .iter()
        .filter_map(|line| line.strip_prefix("read ")?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(read_bytes < SIZE as u64, "zeroes are not read: {log:#?}");
    drop(disk);
    stand_in.assert_nothing_is_left().await;
    assert_eq!(
        stand_in.log().last().map(String::as_str),
        Some("close"),
        "it took its leave"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_use_is_taken_for_zero() {
    let Some(stand_in) = StandIn::new() else { return };
    let used: Arc<[_]> = [512..65_536 + 512, (1 << 20)..(1 << 20) + 4096].into();
    let disk = stand_in
        .open_with(&stand_in.vddk(), PASSWORD, Some(used))
        .await
        .unwrap();
    let mut expected = vec![0; SIZE];
    expected[512..65_536 + 512].copy_from_slice(&stand_in.disk[512..65_536 + 512]);
    assert!(read(&disk).unwrap() == expected, "it differs");
    // Of what is in use, the library knows what is zero.
    let is_read = |line: &String| line.ends_with(&format!("at {}", 1 << 20));
    assert!(!stand_in.log().iter().any(is_read), "{:#?}", stand_in.log());
    drop(disk);
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_are_read_at_once_by_servers_of_their_own() {
    let Some(stand_in) = StandIn::new() else { return };
    let (one, other) = tokio::join!(stand_in.open(), stand_in.open());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.server_id(), other.server_id());
    std::thread::scope(|scope| {
        for disk in [&one, &other] {
            scope.spawn(|| assert!(read(disk).unwrap() == stand_in.disk, "it differs"));
        }
    });
    drop(one);
    assert!(read(&other).unwrap() == stand_in.disk, "the other one stays");
    drop(other);
    stand_in.assert_nothing_is_left().await;
}
