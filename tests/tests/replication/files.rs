//! A folder of images as a source: of the service's own, and behind a worker.

use std::fs;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::{MIB, Site, bytes};

/// A folder with a raw image and a qcow2 one, of the same 16 MiB. Returns those.
fn shelf(site: &Site) -> Vec<u8> {
    let folder = site.file("shelf");
    fs::create_dir(&folder).unwrap();
    let content = bytes(5, 16 * MIB);
    fs::write(folder.join("web.img"), &content).unwrap();
    let converted = Command::new("qemu-img")
        .args(["convert", "-O", "qcow2", "web.img", "db.qcow2"])
        .current_dir(&folder)
        .status();
    assert!(converted.unwrap().success());
    content
}

async fn replicated(site: &Site, name: &str) -> Value {
    let path = site.file("shelf").join(name).display().to_string();
    let request = json!({
        "source_vm": {"id": name, "name": name.split('.').next().unwrap(), "path": path},
        "vcenter_host": "shelf",
    });
    let (status, job) = site.ask(Method::POST, "/replications", Some(&request)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let ended = site.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", site.said());
    ended
}

async fn assert_holds(site: &Site, job: &Value, expected: &[u8]) {
    let volume = job["disks"][0]["volume_id"].as_str().unwrap().parse().unwrap();
    let attached = site.appliance.attach(volume).await;
    let found = fs::read(&attached.device_path).unwrap();
    site.appliance.detach(volume).await;
    assert!(found[..expected.len()] == *expected, "the volume differs");
}

async fn a_shelf_is_replicated(site: &Site) {
    let content = shelf(site);
    let (status, found) = site.ask(Method::GET, "/sources/shelf/machines", None).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!(found["vms"].as_array().unwrap().len(), 2, "{found}");
    for name in ["web.img", "db.qcow2"] {
        let job = replicated(site, name).await;
        assert_eq!(job["disks"][0]["mode"], "everything");
        assert_holds(site, &job, &content).await;
        // A file that nobody touched is not read again.
        let job = replicated(site, name).await;
        assert_eq!(job["disks"][0]["mode"], "changed", "{job:#}");
        assert_eq!(job["disks"][0]["data_bytes"], 0, "{job:#}");
    }
    let mut changed = content;
    changed[3 << 20..][..5000].copy_from_slice(&bytes(6, 5000));
    fs::write(site.file("shelf").join("web.img"), &changed).unwrap();
    let job = replicated(site, "web.img").await;
    assert_eq!(job["disks"][0]["mode"], "compared", "{job:#}");
    assert!(
        job["disks"][0]["written_bytes"].as_u64().unwrap() <= MIB,
        "{job:#}"
    );
    assert_holds(site, &job, &changed).await;
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_in_a_folder_are_replicated_and_brought_up_to_date() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let file = site.file("sources.toml");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{known}[[files]]\nhost = \"shelf\"\npath = \"nowhere\"\n"),
    )
    .unwrap();
    site.hang_up("where nothing is").await;
    fs::write(
        &file,
        format!("{known}[[files]]\nhost = \"shelf\"\npath = \"shelf\"\n"),
    )
    .unwrap();
    fs::create_dir(site.file("shelf")).unwrap();
    site.hang_up("read anew").await;
    fs::remove_dir(site.file("shelf")).unwrap();
    a_shelf_is_replicated(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_in_a_folder_beside_a_worker_are_replicated_and_brought_up_to_date() {
    let Some(mut site) = Site::with_worker(&[], &[]).await else {
        return;
    };
    site.end_worker(rustix::process::Signal::TERM);
    fs::create_dir(site.file("shelf")).unwrap();
    let file = site.file("worker-sources.toml");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{known}[[files]]\nhost = \"shelf\"\npath = \"shelf\"\n"),
    )
    .unwrap();
    site.start_worker().await;
    fs::remove_dir(site.file("shelf")).unwrap();
    let file = site.file("sources.toml");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(&file, known.replace("sources = [", "sources = [\"shelf\", ")).unwrap();
    site.hang_up("read anew").await;
    a_shelf_is_replicated(&site).await;
}
