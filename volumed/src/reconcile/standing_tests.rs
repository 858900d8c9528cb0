//! What is noted, shown, told, mended and passed over as time goes by.

use volume_client::types::{FindingKind, Severity};

use super::*;

const BOUNDS: Bounds = Bounds {
    orphan: SignedDuration::from_secs(300),
    stuck: SignedDuration::from_secs(600),
    uses: SignedDuration::from_secs(45),
    uses_every: SignedDuration::from_secs(30),
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn about(kind: FindingKind, subject: Subject, repair: Option<FindingRepair>) -> Disagreement {
    Disagreement {
        kind,
        severity: Severity::Warning,
        subject,
        record: "r".into(),
        cloud: "c".into(),
        kernel: "k".into(),
        advice: "a".into(),
        repair,
    }
}

fn stray() -> Disagreement {
    let adopt = Some(FindingRepair::Adopt);
    about(FindingKind::AttachedUnknown, Subject::Provider("p".into()), adopt)
}

fn stale(id: VolumeId) -> Disagreement {
    let subject = Subject::Volume { id, generation: 1 };
    about(FindingKind::MappingStale, subject, Some(FindingRepair::Correlate))
}

fn ignored(of: &Disagreement) -> IgnoredRecord {
    IgnoredRecord {
        id: of.id(),
        kind: "k".into(),
        about: "a".into(),
        actor: "uid:0".into(),
        why: "a test disk".into(),
        at: at(0),
    }
}

fn nothing() -> Undecided {
    Undecided::default()
}

#[test]
fn an_orphan_is_shown_only_once_it_has_stood_and_what_passes_is_never_shown() {
    let mut standing = Standing::default();
    standing.note(vec![stray()], &nothing(), at(0));
    assert_eq!(standing.shown(at(299), &BOUNDS, &[]), []);
    assert_eq!(standing.get(&stray().id(), at(299), &BOUNDS), None);
    assert_eq!(standing.all(&[]).len(), 1);
    standing.note(vec![stray()], &nothing(), at(299));
    let shown = standing.shown(at(300), &BOUNDS, &[]);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].since, at(0));
    assert_eq!(shown[0].provider_volume_id.as_deref(), Some("p"));

    // Gone in between, it begins anew.
    standing.note(Vec::new(), &nothing(), at(301));
    standing.note(vec![stray()], &nothing(), at(302));
    assert_eq!(standing.shown(at(500), &BOUNDS, &[]), []);
}

#[test]
fn what_is_not_decided_stands_and_what_is_decided_goes() {
    let id = VolumeId::new();
    let undecided = [
        (
            Undecided {
                cloud: true,
                ..nothing()
            },
            1,
        ),
        (
            Undecided {
                volumes: [id].into(),
                ..nothing()
            },
            1,
        ),
        (nothing(), 0),
    ];
    for (undecided, left) in undecided {
        let mut standing = Standing::default();
        standing.note(vec![stray(), stale(id)], &nothing(), at(0));
        standing.note(Vec::new(), &undecided, at(10));
        assert_eq!(standing.all(&[]).len(), left, "{undecided:?}");
    }
}

#[test]
fn people_are_told_once_that_it_came_and_once_that_it_went() {
    let mut standing = Standing::default();
    standing.note(vec![stray()], &nothing(), at(0));
    assert_eq!(standing.take_notices(at(1), &BOUNDS, &[]), []);
    let told = standing.take_notices(at(300), &BOUNDS, &[]);
    assert_eq!((told.len(), told[0].is_gone), (1, false));
    assert_eq!(standing.take_notices(at(301), &BOUNDS, &[]), []);
    standing.note(Vec::new(), &nothing(), at(302));
    let told = standing.take_notices(at(302), &BOUNDS, &[]);
    assert_eq!((told.len(), told[0].is_gone), (1, true));

    // What went before it was shown was never there.
    standing.note(vec![stray()], &nothing(), at(400));
    standing.note(Vec::new(), &nothing(), at(401));
    assert_eq!(standing.take_notices(at(900), &BOUNDS, &[]), []);
}

#[test]
fn what_is_passed_over_is_listed_with_a_mark_and_raises_nothing() {
    let (mut standing, id) = (Standing::default(), VolumeId::new());
    standing.note(vec![stale(id)], &nothing(), at(0));
    let passed_over = [ignored(&stale(id))];
    assert_eq!(standing.take_notices(at(60), &BOUNDS, &passed_over), []);
    let shown = standing.shown(at(60), &BOUNDS, &passed_over);
    assert_eq!(shown[0].ignored.as_ref().unwrap().why, "a test disk");
    let plans = standing.plans(at(60), &BOUNDS, &passed_over);
    assert!(matches!(plans[0].3, Plan::Waits(_)), "nothing is done about it");
    // Heeded again, it is told of and mended.
    assert_eq!(standing.take_notices(at(61), &BOUNDS, &[]).len(), 1);
    assert_eq!(standing.plans(at(61), &BOUNDS, &[])[0].3, Plan::Due);
}

#[test]
fn a_repair_waits_for_its_disagreement_to_stand_and_is_not_tried_again_at_once() {
    let (mut standing, id) = (Standing::default(), VolumeId::new());
    standing.note(vec![stale(id)], &nothing(), at(0));
    let plan = |standing: &Standing, seconds| standing.plans(at(seconds), &BOUNDS, &[])[0].3.clone();
    assert!(matches!(plan(&standing, 2), Plan::Waits(_)));
    assert_eq!(plan(&standing, 3), Plan::Due);
    let operation = OperationId::new();
    standing.tried(&stale(id).id(), at(3), Some(operation));
    assert!(matches!(plan(&standing, 62), Plan::Waits(_)));
    assert_eq!(plan(&standing, 63), Plan::Due);
    assert_eq!(
        standing.shown(at(62), &BOUNDS, &[])[0].operation_id,
        Some(operation)
    );
    // While its operation is under way nothing is concluded, and the pause goes on.
    let undecided = Undecided {
        volumes: [id].into(),
        ..nothing()
    };
    standing.note(Vec::new(), &undecided, at(10));
    standing.note(vec![stale(id)], &nothing(), at(20));
    assert!(matches!(plan(&standing, 62), Plan::Waits(_)));
}

#[test]
fn the_daemon_adopts_nothing_and_attaches_nothing_by_itself() {
    let mut standing = Standing::default();
    let attach = about(
        FindingKind::AttachedUnknown,
        Subject::Volume {
            id: VolumeId::new(),
            generation: 1,
        },
        Some(FindingRepair::Attach),
    );
    standing.note(vec![stray(), attach], &nothing(), at(0));
    assert_eq!(standing.plans(at(9000), &BOUNDS, &[]), []);
}

#[test]
fn it_is_looked_again_when_something_is_due_and_else_seldom() {
    let (mut standing, timer) = (Standing::default(), Duration::from_secs(60));
    let next = |standing: &Standing, seconds| standing.next_look(at(seconds), &BOUNDS, timer).as_secs();
    assert_eq!(next(&standing, 0), 60);
    standing.note(vec![stray()], &nothing(), at(0));
    assert_eq!(next(&standing, 0), 10);
    assert_eq!(next(&standing, 295), 5);
    assert_eq!(next(&standing, 301), 2);
    assert_eq!(next(&standing, 400), 10);
    standing.note(vec![stray(), stale(VolumeId::new())], &nothing(), at(400));
    assert_eq!(next(&standing, 400), 3);
    let short = Duration::from_secs(1);
    assert_eq!(standing.next_look(at(0), &BOUNDS, short), short);
}
