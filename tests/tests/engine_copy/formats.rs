//! Every kind of source ends up as an equal volume, and is reported as what it was.

use super::images::{FOREIGN, Member, SIZE};
use super::support::{BUFFER, Bench};
use std::fs;
use std::path::Path;
use whole_system_tests::run;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_one_disk_in_all_formats_are_equal_volumes_with_one_digest() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let mut digests = Vec::new();
    let formats: [(&str, &[&str]); 5] = [
        ("disk.qcow2", &["qcow2"]),
        ("disk.vmdk", &["vmdk", "-o", "subformat=monolithicSparse"]),
        ("disk.vhdx", &["vhdx"]),
        ("disk.vpc.vhd", &["vpc", "-o", "force_size=on"]),
        ("disk.raw", &[]),
    ];
    for (name, options) in formats {
        let image = if options.is_empty() {
            raw.clone()
        } else {
            bench.converted(&raw, name, options)
        };
        let ended = bench.copied(&[text(&image), "--vm", name]).await;
        let disk = ended.disk(0);
        assert_eq!(disk["capacity_bytes"], SIZE, "{name}");
        // Capacity and buffer, rounded up to a whole MiB.
        assert_eq!(disk["volume_bytes"], (SIZE + BUFFER).next_multiple_of(1 << 20));
        assert_eq!(disk["digest"]["source"], disk["digest"]["target"], "{name}");
        assert_eq!(
            (&disk["reused"], &disk["attached"]),
            (&false.into(), &false.into())
        );
        assert_eq!(disk["route"], "device");
        digests.push(disk["digest"]["source"].clone());
        let volumes = bench.volumes().await;
        let volume = volumes
            .iter()
            .find(|v| disk["volume_id"] == v.id.to_string())
            .unwrap();
        bench.assert_holds(volume, &raw).await;
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_streamed_packed_and_blank_disks_is_copied_disk_by_disk() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let (one, two) = (bench.disk("one.raw"), bench.disk("number-two.raw"));
    let stream = |raw: &Path, name: &str| {
        let options = ["vmdk", "-o", "subformat=streamOptimized"];
        bench.converted(raw, name, &options)
    };
    let (first, second) = (stream(&one, "1.vmdk"), stream(&two, "2.vmdk"));
    run("gzip", ["-n", text(&second)]);
    let mut packed = Member::new(
        "disk2.vmdk.gz",
        fs::read(second.with_extension("vmdk.gz")).unwrap(),
    );
    packed.attributes = r#"ovf:compression="gzip""#;
    let mut blank = Member::new("", Vec::new());
    blank.content = None;
    let members = [Member::new("disk1.vmdk", fs::read(first).unwrap()), packed, blank];
    let ova = bench.ova("web.ova", &members);
    let ended = bench.copied(&[text(&ova)]).await;
    assert_eq!(ended.report["machine"], "web");
    assert_eq!(ended.report["not_copied"].as_array().unwrap().len(), 0);
    assert_eq!(ended.report["disks"].as_array().unwrap().len(), 3);
    // Known to be zero on both sides: neither read nor written.
    assert_eq!(
        (&ended.disk(2)["bytes_read"], &ended.disk(2)["bytes_zeroed"]),
        (&0.into(), &0.into())
    );
    let volumes = bench.volumes().await;
    for (n, raw) in [(0, &one), (1, &two)] {
        let id = &ended.disk(n)["volume_id"];
        let volume = volumes.iter().find(|v| *id == v.id.to_string()).unwrap();
        bench.assert_holds(volume, raw).await;
    }
    assert!(
        ended
            .stdout
            .contains("machine `web`: 3 of 3 disks copied, completed"),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_of_other_servers_are_sources() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let socket = bench.path(FOREIGN);
    for (port, uri) in [
        (None, format!("nbd+unix:///there?socket={}", text(&socket))),
        (Some(port), format!("nbd://127.0.0.1:{port}/there")),
    ] {
        let _server = bench.foreign_server(&raw, port).await;
        let ended = bench.copied(&[&uri]).await;
        assert_eq!(ended.disk(0)["disk_id"], uri);
        let volumes = bench.volumes().await;
        let id = &ended.disk(0)["volume_id"];
        let volume = volumes.iter().find(|v| *id == v.id.to_string()).unwrap();
        bench.assert_holds(volume, &raw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_copy_is_kept_unless_told_otherwise() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = text(&raw);
    bench.copied(&[image, "--buffer", "5GB"]).await;
    let first = bench.volume().await;
    assert_eq!(first.size_bytes, (SIZE + 5_000_000_000).next_multiple_of(1 << 20));
    let refused = bench.refused(&[image], "holds a finished copy").await;
    assert!(refused.report["hint"].as_str().unwrap().contains("--overwrite"));
    let raw = bench.full_disk("other.raw", SIZE);
    fs::rename(&raw, image).unwrap();
    let again = bench.copied(&[image, "--overwrite"]).await;
    assert_eq!(again.disk(0)["reused"], true);
    assert_eq!(bench.volume().await.id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_stay_attached_where_that_is_wanted_and_are_used_as_they_are() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let ended = bench.copy(&[text(&raw), "--keep-attached", "--no-verify"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.disk(0)["attached"], true);
    assert!(ended.disk(0)["digest"]["target"].is_null());
    assert_eq!(bench.appliance.loops().len(), 1);
    bench.copied(&[text(&raw), "--overwrite"]).await;
    bench.assert_holds(&bench.volume().await, &raw).await;
}

/// What was not read back is not said to be proven.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_called_a_sample_and_the_digest_is_the_kind_that_was_asked_for() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let arguments = [text(&raw), "--verify-sample", "1", "--digest", "blake3"];
    let ended = bench.copy(&arguments).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let disk = ended.disk(0);
    let read = disk["bytes_verified"].as_u64().unwrap();
    let first_and_last = (1 << 20) + (512 << 10);
    assert!((first_and_last..SIZE).contains(&read), "{read}");
    assert!(disk["digest"]["target"].is_null());
    let digest = disk["digest"]["source"].as_str().unwrap();
    assert!(digest.starts_with("blake3-tree:"), "{digest}");
    assert!(ended.stdout.contains("a SAMPLE of"), "{ended:#?}");
    bench.assert_holds(&bench.volume().await, &raw).await;

    let whole = bench.copied(&[text(&raw), "--overwrite"]).await;
    assert_eq!(whole.disk(0)["bytes_verified"], SIZE);
    for refused in [
        &["--verify-sample", "0"][..],
        &["--verify-sample", "101"],
        &["--verify-sample", "5", "--no-verify"],
        &["--digest", "md5"],
    ] {
        let ended = bench.copy(&[&[text(&raw)], refused].concat()).await;
        assert_eq!(ended.code, Some(2), "{refused:?}");
    }
}
