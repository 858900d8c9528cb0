//! What an update costs: it follows the change, not the disk.
#![allow(clippy::print_stdout, reason = "with --no-capture it shows its table")]

use std::time::Instant;

use rustix::process::Signal;

use super::support::{MIB, Site, bytes};

/// How much a guest changes between two cycles.
const CHANGED: u64 = 64 * MIB;
const GIB: u64 = 1 << 30;

/// What one update came to.
struct Cost {
    gib: u64,
    seconds: f64,
    read: u64,
    written: u64,
    compared: u64,
    requests: u64,
}

impl Cost {
    fn row(&self) -> String {
        let mib = |bytes: u64| bytes / MIB;
        format!(
            "{:5} GiB  {:6.2} s  {:5} MiB read  {:5} MiB written  {:5} MiB compared  {:5} requests",
            self.gib,
            self.seconds,
            mib(self.read),
            mib(self.written),
            mib(self.compared),
            self.requests
        )
    }
}

/// Changes 64 MiB in pieces of 1 MiB all over the disk.
fn change(site: &Site, vm: &str, size: u64, seed: u64) {
    let pieces = CHANGED / MIB;
    for n in 0..pieces {
        let place = n * (size / pieces) / MIB * MIB;
        site.vcenter.write(vm, place, &bytes(seed + n, MIB));
    }
}

async fn cost(gib: u64) -> Option<Cost> {
    let size = gib * GIB;
    let option = size.to_string();
    // What is read back the first time is the whole volume; that is not what is asked here.
    let mut site = Site::started(&["-disk-size", &option], &["--no-verify"]).await?;
    let vm = site.machines().await.remove(0);
    let id = vm["id"].as_str().unwrap();
    change(&site, id, size, 0);
    site.replicated(&vm).await;
    site.end(Signal::TERM);
    site.start_with(&[]).await;
    change(&site, id, size, 1000);
    let requests = |site: &Site| site.vcenter.calls()["folder GET"].as_u64().unwrap_or_default();
    let (before, began) = (requests(&site), Instant::now());
    let job = site.replicated(&vm).await;
    let seconds = began.elapsed().as_secs_f64();
    let disk = &job["disks"][0];
    assert_eq!(disk["mode"], "changed", "{job:#}");
    let number = |name: &str| disk[name].as_u64().unwrap();
    let cost = Cost {
        gib,
        seconds,
        read: number("data_bytes"),
        written: number("written_bytes"),
        compared: number("verified_bytes"),
        requests: requests(&site) - before,
    };
    site.assert_nothing_left().await;
    Some(cost)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_updates_cost_follows_the_change_and_not_the_disk() {
    let mut costs = Vec::new();
    for gib in [1, 4, 16, 64] {
        let Some(cost) = cost(gib).await else { return };
        println!("{}", cost.row());
        costs.push(cost);
    }
    for cost in &costs {
        assert_eq!(
            (cost.read, cost.written, cost.compared),
            (CHANGED, CHANGED, CHANGED)
        );
        assert!(cost.requests > 0);
        let smallest = costs[0].requests;
        assert!(cost.requests <= smallest + smallest / 10 + 4, "{}", cost.row());
    }
}
