//! The one sentence: what goes on before what was found, what endangers data before what does not.

use jiff::Timestamp;
use volume_client::types::{ConditionKind, FindingId, FindingKind, Ignored, Severity};

use super::*;
use crate::model::{OperationId, OperationStatus, Request};
use crate::reconcile::plan::KernelView;
use crate::reconcile::plan::tests::views as views_of;

fn then() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn views(state: VolumeState, cloud: CloudView) -> VolumeViews {
    views_of(state, cloud, KernelView::Absent)
}

fn operation(waiting_for: Option<&str>) -> OperationRecord {
    OperationRecord {
        id: OperationId::new(),
        status: OperationStatus::Running,
        volume_id: VolumeId::new(),
        vm_id: None,
        request: Request::Detach {},
        response: None,
        failure: None,
        waiting_for: waiting_for.map(str::to_owned),
        cancel_requested: false,
        actor: "uid:0".into(),
        request_id: None,
        created_at: then(),
        updated_at: then(),
        completed_at: None,
    }
}

fn finding(severity: Severity, advice: &str) -> Finding {
    Finding {
        id: FindingId::of_digest(advice.as_bytes()),
        kind: FindingKind::Phantom,
        severity,
        volume_id: None,
        provider_volume_id: None,
        record: String::new(),
        cloud: String::new(),
        kernel: String::new(),
        repair: advice.into(),
        proposal: None,
        ignored: None,
        operation_id: None,
        since: then(),
    }
}

#[test]
fn an_operation_goes_on_and_says_what_it_waits_for() {
    let views = views(VolumeState::InUse, CloudView::AttachedHere);
    let waiting = operation(Some("the device to go"));
    let findings = [finding(Severity::Critical, "look at it")];
    let told = next(&views, Some(&waiting), &[], &findings);
    assert!(told.contains(&waiting.id.to_string()), "{told}");
    assert!(
        told.contains("goes on by itself") && told.ends_with("the device to go"),
        "{told}"
    );
    let mut undone = operation(None);
    undone.failure = Some(crate::model::Failure::new(
        crate::model::ErrorCode::Internal,
        "no",
    ));
    assert!(next(&views, Some(&undone), &[], &[]).contains("is being undone"));
}

#[test]
fn the_worst_finding_that_is_not_passed_over_says_what_to_do() {
    let views = views(VolumeState::InUse, CloudView::AttachedHere);
    let mut passed_over = finding(Severity::Critical, "the worst");
    passed_over.ignored = Some(Ignored {
        actor: "uid:0".into(),
        why: "known".into(),
        at: then(),
    });
    let findings = [
        finding(Severity::Info, "the least"),
        finding(Severity::Warning, "the middle"),
        passed_over,
    ];
    assert_eq!(next(&views, None, &[], &findings), "the middle");
}

#[test]
fn without_findings_a_condition_tells_and_then_the_state() {
    let condition = ConditionRecord {
        volume_id: VolumeId::new(),
        kind: ConditionKind::DeviceMissing,
        since: then(),
        reason: "no device".into(),
        hint: "wait".into(),
    };
    let attached = views(VolumeState::InUse, CloudView::AttachedHere);
    assert_eq!(next(&attached, None, &[condition], &[]), "no device: wait");
    assert!(next(&attached, None, &[], &[]).starts_with("nothing: record, cloud and kernel agree"));
    let silent = views(VolumeState::InUse, CloudView::Unknown);
    assert!(next(&silent, None, &[], &[]).contains("until the cloud answers"));
    for state in [VolumeState::Error, VolumeState::Creating] {
        let odd = views(state, CloudView::Detached);
        assert!(next(&odd, None, &[], &[]).contains("a person must look at it"));
    }
}
