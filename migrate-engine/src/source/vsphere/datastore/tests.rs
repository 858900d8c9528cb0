//! Paths, ranges, descriptors and tries.

use std::time::Duration;

use super::content_range::ContentRange;
use super::descriptor::{FlatExtent, flat_extent};
use super::error::FolderError;
use super::path::DatastorePath;
use super::retry::{Next, Tries};

#[test]
fn paths_are_read_shown_and_encoded() {
    let path: DatastorePath = "[Local DS_0] VM ü/a+b&c#%.vmdk".parse().unwrap();
    assert_eq!(
        (path.datastore(), path.file()),
        ("Local DS_0", "VM ü/a+b&c#%.vmdk")
    );
    assert_eq!(path.to_string(), "[Local DS_0] VM ü/a+b&c#%.vmdk");
    assert_eq!(
        path.target(Some("folder/DC 0")),
        "/folder/VM%20%C3%BC/a%2Bb%26c%23%25.vmdk?dcPath=folder%2FDC%200&dsName=Local%20DS_0"
    );
    assert_eq!(
        path.sibling("x-flat.vmdk").to_string(),
        "[Local DS_0] VM ü/x-flat.vmdk"
    );
    let flat: DatastorePath = "[d] x.vmdk".parse().unwrap();
    assert_eq!(
        (flat.sibling("y").file(), flat.target(None).as_str()),
        ("y", "/folder/x.vmdk?dsName=d")
    );
}

#[test]
fn other_texts_are_no_paths() {
    for text in ["", "x.vmdk", "[d]", "[] x", "[d x", "[d] a/../b", "[d] ./b"] {
        assert!(text.parse::<DatastorePath>().is_err(), "{text}");
    }
}

#[test]
fn ranges_are_read_exactly() {
    let range = |first, last, total| Some(ContentRange { first, last, total });
    assert_eq!(ContentRange::parse("bytes 0-9/100"), range(0, 9, Some(100)));
    assert_eq!(ContentRange::parse("Bytes 5-5/*"), range(5, 5, None));
    for text in [
        "",
        "bytes */100",
        "bytes 9-0/100",
        "bytes 0-9",
        "items 0-9/100",
        "bytes +0-9/100",
        "bytes 0-9/1e2",
    ] {
        assert_eq!(ContentRange::parse(text), None, "{text}");
    }
}

fn descriptor(rest: &str) -> String {
    format!("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=1\n{rest}")
}

#[test]
fn the_flat_file_of_a_disk_is_found() {
    for line in [
        "RW 2048 VMFS \"a b-flat.vmdk\"",
        "RW 2048 FLAT \"a b-flat.vmdk\" 0\r",
    ] {
        let extent = flat_extent(&descriptor(&format!("parentCID=ffffffff\n{line}\n"))).unwrap();
        assert_eq!(
            extent,
            FlatExtent {
                file: "a b-flat.vmdk".to_owned(),
                size: 1 << 20
            }
        );
    }
}

#[test]
fn what_is_not_flat_is_refused_with_the_reason() {
    let why = |rest: &str| flat_extent(&descriptor(rest)).unwrap_err();
    assert!(flat_extent("KDMV....").is_err());
    assert!(why("parentCID=12ab34cd\nRW 8 VMFSSPARSE \"x-delta.vmdk\"").contains("on top"));
    assert!(why("RW 8 SESPARSE \"x-sesparse.vmdk\"").contains("not flat"));
    assert!(why("RW 8 FLAT \"x-f001.vmdk\" 0\nRW 8 FLAT \"x-f002.vmdk\" 0").contains("several"));
    assert!(why("RW 8 FLAT \"x\" 128").contains("middle"));
    assert!(why("RW 8 VMFS \"../../etc/passwd\"").contains("another folder"));
    assert!(why("RW 99999999999999999999 VMFS \"x\"").contains("read"));
    assert!(why("").contains("names no file"));
}

#[test]
fn passing_troubles_are_tried_again_for_a_while() {
    let file = || "f".to_owned();
    let busy = FolderError::Busy {
        file: file(),
        status: 503,
    };
    let mut tries = Tries::default();
    assert_eq!(tries.next(&busy), Next::Again(Duration::from_millis(200)));
    let unauthorized = FolderError::Unauthorized { file: file() };
    assert_eq!(tries.next(&unauthorized), Next::Renew);
    assert_eq!(tries.next(&unauthorized), Next::GiveUp);
    assert!(matches!(tries.next(&busy), Next::Again(_)));
    assert!(matches!(tries.next(&busy), Next::Again(_)));
    assert_eq!(tries.next(&busy), Next::GiveUp);
    assert_eq!(tries.next(&FolderError::Locked { file: file() }), Next::GiveUp);
}
