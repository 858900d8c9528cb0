//! Every operation, killed at every point that it passes, with the database failing at each of its changes and the cloud losing,
//! delaying and doubling what is said: the crash matrix, once through. `cargo xtask soak` goes over it again and again.

#![allow(clippy::print_stderr, reason = "what a test shows goes where tests write")]

use std::collections::BTreeSet;

use volume_client::types::OperationKind;
use whole_system_tests::crash_matrix::{Figures, Matrix, Scenario, Way, strikes_of};

/// Goes through everything that an operation of this kind can be struck with.
async fn every_strike_at(kind: OperationKind) {
    let Some(mut matrix) = Matrix::new().await else {
        return;
    };
    let (mut figures, mut passed) = (Figures::default(), BTreeSet::new());
    for scenario in Scenario::all().into_iter().filter(|one| one.kind == kind) {
        let learned = matrix.learn(scenario).await.unwrap();
        passed.extend(learned.points.keys().cloned());
        if scenario.way == Way::Through {
            assert_whole(scenario, &passed);
        }
        for (scenario, arm) in strikes_of(scenario, &learned) {
            figures.add(matrix.strike(scenario, &arm).await);
        }
    }
    eprintln!("{kind:?}: {figures}");
    assert!(figures.violations.is_empty(), "{:#?}", figures.violations);
    assert!(figures.kills > 10 && figures.store_faults > 10, "{figures}");
    assert!(
        figures.missed * 10 < figures.kills,
        "too many strikes met nothing: {figures}"
    );
}

/// Every step of the daemon's table passes the four points around its two lines.
fn assert_whole(scenario: Scenario, passed: &BTreeSet<String>) {
    let name = scenario.name();
    let kind = name.parse().expect("the daemon's name of it");
    let steps = volumed::operation::step_names(kind);
    for step in &steps {
        for moment in ["before-started", "after-started", "before-done", "after-done"] {
            let point = format!("{name}/{step}/{moment}");
            assert!(
                passed.contains(&point),
                "{point} is not passed; passed are {passed:#?}"
            );
        }
    }
    for moment in ["admission/before", "admission/after", "end/before", "end/after"] {
        assert!(passed.contains(&format!("{name}/{moment}")));
    }
}

macro_rules! every_strike {
    ($($test:ident: $kind:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            every_strike_at(OperationKind::$kind).await;
        }
    )*};
}

every_strike! {
    a_create_survives_every_strike: Create,
    an_attach_survives_every_strike: Attach,
    a_detach_survives_every_strike: Detach,
    a_delete_survives_every_strike: Delete,
    a_resize_survives_every_strike: Resize,
    a_correlation_survives_every_strike: Correlate,
    a_snapshot_survives_every_strike: SnapshotCreate,
    a_revert_survives_every_strike: SnapshotRevert,
    a_snapshots_deletion_survives_every_strike: SnapshotDelete,
}

#[test]
fn no_kind_of_operation_is_left_out() {
    let struck: BTreeSet<String> = Scenario::all().into_iter().map(Scenario::name).collect();
    let all: BTreeSet<String> = volumed::model::OperationKind::ALL
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(struck, all);
}
