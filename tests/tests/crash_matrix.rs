//! Every operation, killed at every point that it passes, with the database failing at each of its changes and the cloud losing,
//! delaying and doubling what is said: the crash matrix, once through. `cargo xtask soak` goes over it again and again.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and shows what it shows where tests write"
)]

use std::collections::BTreeSet;

use volume_client::types::OperationKind;
use whole_system_tests::crash_matrix::{Arm, Matrix, Plan, Scenario, Way, strike_all, strikes_of};

/// Goes through everything that an operation of this kind can be struck with.
async fn every_strike_at(kind: OperationKind) {
    let Some(mut matrix) = Matrix::new().await else {
        return;
    };
    let (mut strikes, mut passed) = (Vec::new(), BTreeSet::new());
    for scenario in Scenario::all().into_iter().filter(|one| one.kind == kind) {
        let learned = matrix.learn(scenario).await.unwrap();
        passed.extend(learned.points.keys().cloned());
        if scenario.way == Way::Through {
            assert_whole(scenario, &passed);
        }
        strikes.extend(strikes_of(scenario, &learned));
    }
    drop(matrix);
    thin_out(&mut strikes);
    let figures = strike_all(strikes, &Plan::default(), |_| ()).await.unwrap();
    eprintln!("{kind:?}: {figures}");
    assert!(figures.violations.is_empty(), "{:#?}", figures.violations);
    let is_failed = |end: &String| end.ends_with(" failed");
    assert!(
        kind == OperationKind::Delete || figures.ends.keys().any(is_failed),
        "nothing was undone: {figures}"
    );
    assert!(figures.kills > 10 && figures.store_faults > 5, "{figures}");
    assert!(
        figures.missed * 10 < figures.kills,
        "too many strikes met nothing: {figures}"
    );
}

/// Every kill stays. Of the database's failures and of deaths together with a fault of the cloud every third does, another third in
/// each kind of operation; the command goes through all.
fn thin_out(strikes: &mut Vec<(Scenario, Arm)>) {
    let mut n = 0;
    strikes.retain(|(scenario, arm)| {
        n += 1;
        matches!(arm, Arm::Kill(..) | Arm::Cloud(_)) || n % 3 == scenario.kind as usize % 3
    });
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
    an_adoption_survives_every_strike: Adopt,
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
