//! The wrong-disk attack, as much of it as fits into every run; `cargo xtask soak swap` does more.

#![allow(clippy::print_stderr, reason = "what a test shows goes where tests write")]

use whole_system_tests::swap_attack::{Attack, attack};

/// How often it is attacked again, at most, until clients met it often enough: how often they do follows from how fast the
/// emulator is, and an attack that hits nobody shows nothing.
const ROUNDS: u64 = 3;

async fn attacked(seed: u64, scsi_share: u64) {
    let (mut readers, mut own_blocks, mut led_astray) = (0, 0, 0);
    for round in 0..ROUNDS {
        let plan = Attack {
            swaps: 100,
            seed: seed + 1000 * round,
            per_machine: 100,
            scsi_share,
            ..Attack::default()
        };
        let Some(figures) = attack(plan, |_| ()).await else {
            return;
        };
        eprintln!("seed {}: {figures}", plan.seed);
        assert_eq!(figures.wrong(), 0, "{figures:#?}");
        assert_eq!(figures.violations, 0);
        assert!(
            figures.swaps >= plan.swaps,
            "the emulator died too often: inconclusive"
        );
        readers += figures.met_by("reader").right;
        own_blocks += figures.own_blocks;
        led_astray += figures.met_by("by_id").wrong + figures.met_by("sysfs_name").wrong;
        if readers > 10 && own_blocks > 10 && led_astray > 0 {
            return;
        }
    }
    panic!(
        "{readers} readers, {own_blocks} blocks in their own image, {led_astray} led astray by a path: too few"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_on_virtio_blk_lead_no_client_of_the_daemons_astray() {
    attacked(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_swaps_on_virtio_scsi_do_not_either() {
    attacked(2, 100).await;
}
