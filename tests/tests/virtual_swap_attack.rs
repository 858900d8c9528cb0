//! The wrong-disk attack, as much of it as fits into every run; `cargo xtask soak swap` does more.

#![allow(clippy::print_stderr, reason = "what a test shows goes where tests write")]

use whole_system_tests::swap_attack::{Attack, attack};

async fn attacked(seed: u64, scsi_share: u64) {
    let plan = Attack {
        swaps: 100,
        seed,
        per_machine: 100,
        scsi_share,
        ..Attack::default()
    };
    let Some(figures) = attack(plan, |_| ()).await else {
        return;
    };
    eprintln!("seed {seed}: {figures}");
    assert_eq!(figures.wrong(), 0, "{figures:#?}");
    assert_eq!(figures.violations, 0);
    assert!(
        figures.swaps >= plan.swaps,
        "the emulator died too often: inconclusive"
    );
    // An attack that hits nobody shows nothing.
    assert!(figures.met_by("reader").right > 10, "{figures:#?}");
    assert!(figures.own_blocks > 10, "{figures:#?}");
    let by_path = figures.met_by("by_id").wrong + figures.met_by("sysfs_name").wrong;
    assert!(by_path > 0, "nobody was led astray: {figures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_on_virtio_blk_lead_no_client_of_the_daemons_astray() {
    attacked(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_on_virtio_scsi_do_not_either() {
    attacked(2, 100).await;
}
