//! The attach soak in the size that fits into every run of the tests: fixed seeds, some 20 cycles each.

use whole_system_tests::attach_soak::{Plan, run};

async fn soak(seed: u64) {
    let plan = Plan {
        seed,
        cycles: 20,
        lanes: 4,
        cycles_between_kills: 10,
    };
    let Some(report) = run(&plan).await else { return };
    assert!(report.violations.is_empty(), "{:#?}\n{report}", report.violations);
    assert!(report.figures.right > 0, "nothing was opened: {report}");
    assert!(!report.figures.faults.is_empty(), "nothing went wrong: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_1() {
    soak(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_2() {
    soak(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_3() {
    soak(3).await;
}
