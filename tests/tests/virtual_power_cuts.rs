//! Power cuts under load, as many as fit into every run; `cargo xtask soak power` does more.

#![allow(clippy::print_stderr, reason = "what a test shows goes where tests write")]

use whole_system_tests::power_cuts::{Plan, cut};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_at_a_power_cut() {
    let Some(figures) = cut(&Plan::default(), |_| ()).await else {
        return;
    };
    eprintln!("{figures}");
    assert!(figures.lost.is_empty(), "{figures:#?}");
    assert!(figures.wrong.is_empty(), "{figures:#?}");
    assert!(figures.cuts >= 3, "the emulator died too often: inconclusive");
    // Cuts of a machine that acknowledges nothing show nothing.
    assert!(figures.acknowledged > 5, "{figures:#?}");
}
