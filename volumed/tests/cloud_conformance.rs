//! The conformance suite over the embedded provider on several file systems, and over every wrapper of it.

mod cloud_rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloud_rig::{Bench, Mounted, can, can_loop, installed};
use parking_lot::Mutex;
use tempfile::TempDir;
use volumed::cloud::conformance::suite;
use volumed::cloud::{CallObserver, Fault, FaultScript, Faulty, Metered, Method, Retry, RetryPolicy};

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    if can_loop() {
        let bench = Bench::new();
        suite(bench.rig(Arc::new(bench.cloud().clone()))).await;
        assert_nothing_left(&bench.root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_in_memory() {
    if can_loop() {
        let bench = Bench::below(TempDir::with_prefix_in("volumed-cloud-", "/dev/shm").unwrap());
        suite(bench.rig(Arc::new(bench.cloud().clone()))).await;
        assert_nothing_left(&bench.root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_where_files_can_be_cloned() {
    if can_loop() && can("make a btrfs (package btrfs-progs)", installed("mkfs.btrfs")) {
        let mounted = Mounted::btrfs();
        let bench = Bench::at(mounted.path().join("root"));
        suite(bench.rig(Arc::new(bench.cloud().clone()))).await;
        assert_nothing_left(&bench.root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metered() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(&'static str, &'static str)>>);
    impl CallObserver for Seen {
        fn finished(&self, method: &'static str, outcome: &'static str, _took: Duration) {
            self.0.lock().push((method, outcome));
        }
    }
    if can_loop() {
        let (bench, seen) = (Bench::new(), Arc::new(Seen::default()));
        let cloud = Metered::around(seen.clone(), Arc::new(bench.cloud().clone()));
        suite(bench.rig(Arc::new(cloud))).await;
        let seen = seen.0.lock();
        for expected in [
            ("attach", "ok"),
            ("create_volume", "refused"),
            ("delete_volume", "conflict"),
        ] {
            assert!(seen.contains(&expected), "{expected:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_without_faults() {
    if can_loop() {
        let bench = Bench::new();
        let cloud = Faulty::around(FaultScript::new(), Arc::new(bench.cloud().clone()));
        suite(bench.rig(Arc::new(cloud))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_over_a_cloud_that_fails_often() {
    if can_loop() {
        let (bench, script) = (Bench::new(), FaultScript::new());
        for method in [
            Method::OwnVm,
            Method::Volume,
            Method::VolumesNamed,
            Method::Volumes,
            Method::CreateVolume,
            Method::Attach,
            Method::Detach,
            Method::Resize,
            Method::DeleteVolume,
            Method::Snapshots,
            Method::CreateSnapshot,
            Method::RevertToSnapshot,
            Method::DeleteSnapshot,
        ] {
            script.push(method, Fault::Transient { retry_after: None });
            script.push(
                method,
                Fault::Transient {
                    retry_after: Some(Duration::from_millis(1)),
                },
            );
        }
        let often = Faulty::around(script.clone(), Arc::new(bench.cloud().clone()));
        let policy = RetryPolicy {
            first_pause: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        suite(bench.rig(Arc::new(Retry::around(policy, Arc::new(often))))).await;
        assert_eq!(script.left(Method::RevertToSnapshot), 0, "the faults were met");
    }
}

fn assert_nothing_left(root: &Path) {
    for dir in ["volumes", "trash"] {
        let left: Vec<_> = std::fs::read_dir(root.join(dir))
            .expect("reading the root")
            .flatten()
            .collect();
        assert!(left.is_empty(), "left in {dir}: {left:?}");
    }
}
