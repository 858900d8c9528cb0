//! Random histories against a reference model.
//!
//! The store, the operations, recovery and the reconciler are the real ones; the cloud, the kernel and the time are
//! simulated (`world.rs`, `cloud_state.rs`, `kernel.rs`). A history is a seed and a list of events: requests, crashes,
//! faults of the cloud, and strangers. After each event the invariants are checked (`invariants.rs`), and at its end, with
//! faults off and time given, that everything has ended and that all views agree (`ending.rs`).
//!
//! `MODEL_HISTORIES=n` plays so many (2,000 unless told otherwise); `MODEL_SEED=s` plays those of that seed (1 unless told otherwise), which each run
//! tells at its begin. A history that fails is made smaller, told with its story, and kept in `regressions.txt`: whatever is
//! there is played first from then on.
//!
//! What is not the same in a replay: ids of operations and volumes (their order is), and which of several branches of a
//! `select!` that are ready at the same moment is taken first.
//!
//! That it can fail was tried by taking a defence out, one at a time. Number of the history that noticed, of a fixed seed:
//!
//! | taken out | noticed by history |
//! |---|--:|
//! | the look for a device before a delete (`delete::require_none_of`) | 1 |
//! | the wait until a call in doubt has expired (`cloud_call::settle`) | 14 |
//! | that a lease which was renewed in time stands (`lease::lapse_expired`) | 23 |
//! | that a disk which came again is not bound (`correlate::is_replugged`) | 61 |
//! | the wait while the cloud is at work (`cloud_call::require_idle`) | 90 |
//! | the look for a phantom before an attach (`phantom::require_no_phantom`) | 116 |
//! | the look through the pin when a device is asked for (`service::verified`) | 129 |
//! | the look for users before a detach (`detach::require_unused`) | 133 |
//!
//! Not noticed in a run of three quarters of a minute each, as another defence stands behind it or the coincidence is rare: the fence in
//! `cloud_call::send` (the executor asks for doubts too), the second reading before an attachment is believed, the memory of
//! disputes, the end of other boots' mappings, the new term for calls that a crash cut short.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod asked;
mod client;
mod cloud;
mod cloud_ledger;
mod cloud_state;
mod cloud_work;
mod daemon;
mod ending;
mod event;
mod history;
mod invariants;
mod kernel;
mod machine;
mod reference;
mod scripted;
mod strangers;
mod world;

use std::cell::Cell;
use std::path::Path;

use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};

use event::history;
use history::play;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

#[test]
fn no_history_breaks_a_rule() {
    std::panic::set_hook(Box::new(|panic| {
        invariants::PANICS.lock().push(panic.to_string())
    }));
    let cases = from_environment("MODEL_HISTORIES").unwrap_or(2000);
    let seed: u64 = from_environment("MODEL_SEED").unwrap_or(1);
    eprintln!("{cases} histories of MODEL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        max_shrink_iters: from_environment("PROPTEST_MAX_SHRINK_ITERS").unwrap_or(2000),
        ..Config::default()
    };
    assert!(Path::new(kept).is_file(), "{kept} is missing");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let (played, failed) = (Cell::new(0), Cell::new(None));
    let outcome = TestRunner::new_with_rng(config, rng).run(&history(), |history| {
        played.set(played.get() + 1);
        play(&history).map_err(|story| {
            failed.set(failed.get().or(Some(played.get())));
            TestCaseError::fail(story)
        })
    });
    let _ = std::panic::take_hook();
    if let Err(error) = outcome {
        panic!("MODEL_SEED={seed}, history {:?}: {error}", failed.get());
    }
}
