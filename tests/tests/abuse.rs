//! Schemathesis in the size that fits into every run of the tests: a fixed seed, a few requests of each kind.

use whole_system_tests::abuse::{Bound, Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_the_answers_are_as_the_documents_say() {
    let plan = Plan {
        seed: 1,
        bound: Bound::Requests(4),
    };
    let Some(report) = run(&plan).await else { return };
    assert!(
        report.violations.is_empty(),
        "{}\n{report}",
        report.violations.join("\n")
    );
}
