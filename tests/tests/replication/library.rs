//! Machines that are read by VMware's own library, of which a stand-in is there (`tests/vddk-stand-in`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use whole_system_tests::{VCENTER_PASSWORD, wait_until};

use super::support::{MIB, PATIENCE, Site, bytes};

/// What the stand-in asks the simulator for: the simulator knows disks by their keys, of which 2000 is the first.
const FETCH: &str = r#"#!/bin/sh
number=$(basename "$5" .vmdk) && number=${number%%-*} && number=${number#disk}
exec curl -sk --fail -o "$6" "https://$1:$2/_test/frozen?vm=${3#moref=}&disk=$((1999 + number))&snapshot=$4"
"#;

/// Builds the stand-in, and has the running service read by it. Gives its folder.
async fn installed(site: &Site) -> PathBuf {
    let folder = site.file("vddk");
    fs::create_dir(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("vddk-stand-in/vddk.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([folder.join("vddk.so"), source])
        .status();
    assert!(built.unwrap().success(), "or: cargo xtask install-deps");
    fs::write(folder.join("libvixDiskLib.so.8"), "").unwrap();
    fs::write(folder.join("password"), VCENTER_PASSWORD).unwrap();
    fs::write(folder.join("fetch"), FETCH).unwrap();
    fs::set_permissions(folder.join("fetch"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut sources = fs::read_to_string(site.file("sources.toml")).unwrap();
    sources += "vddk = \"vddk\"\nvddk_plugin = \"vddk/vddk.so\"\n";
    fs::write(site.file("sources.toml"), sources).unwrap();
    site.hang_up("read anew").await;
    folder
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Whether a process has the stand-in's folder in its arguments.
fn is_served(folder: &Path) -> bool {
    let argument = format!("libdir={}", folder.display());
    let found = Command::new("pgrep").args(["-f", &argument]).output();
    !found.unwrap().stdout.is_empty()
}

fn mode(job: &Value) -> &str {
    job["disks"][0]["mode"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_kept_up_to_date_through_vmwares_library() {
    let Some(site) = Site::started(&["-odd"], &[]).await else {
        return;
    };
    let find = async |name: &str| {
        let machines = site.machines().await;
        machines.into_iter().find(|vm| vm["name"] == name).unwrap()
    };
    let before = find("odd-snapshot").await;
    assert!(before["problem"].as_str().unwrap().contains("`vddk`"), "{before}");
    let folder = installed(&site).await;
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    site.vcenter.write(id, 3 * MIB, &bytes(1, 200_000));
    let job = site.replicated(vm).await;
    assert_eq!(mode(&job), "everything");
    site.assert_equal(vm, &job).await;
    site.vcenter.write(id, 7 * MIB + 4096, &bytes(2, 70_000));
    let job = site.replicated(vm).await;
    assert_eq!(mode(&job), "changed", "{job:#}");
    site.assert_equal(vm, &job).await;
    let files = site.vcenter.calls()["folder GET"].as_u64().unwrap_or_default();
    assert_eq!(files, 0, "no byte came by the web server");

    // With a snapshot of somebody else below ours.
    let theirs = find("odd-snapshot").await;
    assert_eq!(theirs["problem"], Value::Null, "{theirs}");
    let id = theirs["id"].as_str().unwrap();
    for (cycle, expected) in [(1, "everything"), (2, "compared")] {
        site.vcenter.write(id, cycle * MIB, &bytes(cycle, 50_000));
        let job = site.replicated(&theirs).await;
        assert_eq!(mode(&job), expected, "{job:#}");
        site.assert_equal(&theirs, &job).await;
        assert_eq!(site.vcenter.snapshots(id).len(), 1, "theirs stays");
    }
    assert!(!is_served(&folder));
    let said = site.said() + &log(&folder);
    assert!(!said.contains(VCENTER_PASSWORD), "the password was said");
    assert!(said.contains("password=right, in a private file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_while_the_library_reads_goes_on() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let folder = installed(&site).await;
    let vm = site.machines().await[0].clone();
    site.vcenter
        .write(vm["id"].as_str().unwrap(), MIB, &bytes(3, 3_000_000));
    fs::write(folder.join("mode"), "slow").unwrap();
    let job = site.submit(&vm).await;
    wait_until("a read", PATIENCE, async || {
        log(&folder).contains("\nread ").then_some(())
    })
    .await;
    site.end(Signal::KILL);
    wait_until("the end of nbdkit", PATIENCE, async || {
        (!is_served(&folder)).then_some(())
    })
    .await;
    fs::write(folder.join("mode"), "").unwrap();
    site.start().await;
    let job = site.ended(&job).await;
    assert_eq!(job["status"], "completed", "{job:#}\n{}", site.said());
    site.assert_nothing_left().await;
    site.assert_equal(&vm, &job).await;
    assert!(!is_served(&folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_is_missing_fails_the_job_with_what_to_do() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let folder = installed(&site).await;
    fs::remove_file(folder.join("libvixDiskLib.so.8")).unwrap();
    let vm = &site.machines().await[0];
    let job = site.ended(&site.submit(vm).await).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    assert!(job.to_string().contains("unpack it there"), "{job:#}");
    site.assert_nothing_left().await;
}
