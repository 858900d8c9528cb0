//! Tests of the records of schedules.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("engine.db")).unwrap();
    (dir, store)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn run(text: &str, outcome: &str) -> ScheduleRunRow {
    ScheduleRunRow {
        schedule: "nightly".to_owned(),
        at: at(text),
        begun_by: BegunBy::Calendar,
        outcome: outcome.to_owned(),
        detail: "{}".to_owned(),
        recorded_at: at(text),
    }
}

fn known(store: &Store, names: &[&str], now: &str) {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    store.know_schedules(&names, at(now)).unwrap();
}

fn settled(store: &Store, name: &str) -> Option<String> {
    let found = store.schedule_settled_until(name).unwrap();
    found.map(|found| found.to_string())
}

fn ats(store: &Store, wanted: RunsWanted) -> Vec<String> {
    let runs = store.schedule_runs("nightly", wanted, 100).unwrap();
    runs.into_iter().map(|run| run.at.to_string()).collect()
}

#[test]
fn a_schedule_is_settled_until_it_became_known_and_then_until_its_latest_run() {
    let (_dir, store) = store();
    assert_eq!(settled(&store, "nightly"), None);
    known(&store, &["nightly", "it's \"odd\""], "2026-11-30T01:00:00.9Z");
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T01:00:00Z");
    assert_eq!(settled(&store, "it's \"odd\"").unwrap(), "2026-11-30T01:00:00Z");
    store
        .record_schedule_run(&run("2026-11-30T02:45:00Z", "skipped_while_starting"))
        .unwrap();
    // Recorded later, as its start took long.
    store
        .record_schedule_run(&run("2026-11-30T02:30:00Z", "begun"))
        .unwrap();
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T02:45:00Z");
    store
        .record_schedule_run(&run("2026-11-30T05:00:00Z", "missed"))
        .unwrap();
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T05:00:00Z");
    // Known again at the next start, it keeps its place.
    known(&store, &["nightly"], "2026-11-30T09:00:00Z");
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T05:00:00Z");
    store
        .renew_schedule("nightly", at("2026-11-30T03:00:00Z"))
        .unwrap();
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T03:00:00Z");
}

#[test]
fn one_that_was_away_begins_anew_and_keeps_its_history() {
    let (_dir, store) = store();
    known(&store, &["nightly"], "2026-11-01T00:00:00Z");
    store
        .record_schedule_run(&run("2026-11-01T02:30:00Z", "begun"))
        .unwrap();
    known(&store, &[], "2026-11-02T00:00:00Z");
    assert_eq!(settled(&store, "nightly"), None);
    // The start that was under way when it went.
    store
        .record_schedule_run(&run("2026-11-02T02:30:00Z", "begun"))
        .unwrap();
    assert_eq!(settled(&store, "nightly"), None);
    known(&store, &["nightly"], "2026-11-30T00:00:00Z");
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T00:00:00Z");
    assert_eq!(ats(&store, RunsWanted::Taken).len(), 2);
}

#[test]
fn what_a_person_begins_settles_nothing() {
    let (_dir, store) = store();
    known(&store, &["nightly"], "2026-11-30T01:00:00Z");
    let by_person = ScheduleRunRow {
        begun_by: BegunBy::Person,
        ..run("2026-11-30T12:00:00Z", "begun")
    };
    store.record_schedule_run(&by_person).unwrap();
    assert_eq!(settled(&store, "nightly").unwrap(), "2026-11-30T01:00:00Z");
    assert_eq!(
        store.schedule_runs("nightly", RunsWanted::Taken, 5).unwrap(),
        [by_person]
    );
}

#[test]
fn runs_are_told_latest_first_missed_ones_apart_and_none_of_other_schedules() {
    let (_dir, store) = store();
    known(&store, &["nightly"], "2026-11-01T00:00:00Z");
    for (time, outcome) in [
        ("2026-11-03T02:30:00Z", "begun"),
        ("2026-11-02T02:30:00Z", "missed"),
        ("2026-11-04T02:30:00Z", "skipped_in_blackout"),
    ] {
        store.record_schedule_run(&run(time, outcome)).unwrap();
    }
    let other = ScheduleRunRow {
        schedule: "other".to_owned(),
        ..run("2026-11-05T02:30:00Z", "begun")
    };
    store.record_schedule_run(&other).unwrap();
    let taken = ["2026-11-04T02:30:00Z", "2026-11-03T02:30:00Z"];
    assert_eq!(ats(&store, RunsWanted::Taken), taken);
    assert_eq!(ats(&store, RunsWanted::Missed), ["2026-11-02T02:30:00Z"]);
    assert_eq!(
        store
            .schedule_runs("nightly", RunsWanted::Taken, 1)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn old_runs_are_removed_and_the_place_stays() {
    let (_dir, store) = store();
    known(&store, &["nightly"], "2025-01-01T00:00:00Z");
    // 400 days later is 2026-11-30T02:30.
    store
        .record_schedule_run(&run("2025-10-26T02:30:00Z", "begun"))
        .unwrap();
    let person = |time: &str| ScheduleRunRow {
        begun_by: BegunBy::Person,
        ..run(time, "begun")
    };
    store
        .record_schedule_run(&person("2026-11-30T02:30:00Z"))
        .unwrap();
    assert_eq!(ats(&store, RunsWanted::Taken).len(), 2);
    store
        .record_schedule_run(&person("2026-11-30T02:30:01Z"))
        .unwrap();
    let kept = ["2026-11-30T02:30:01Z", "2026-11-30T02:30:00Z"];
    assert_eq!(ats(&store, RunsWanted::Taken), kept);
    assert_eq!(settled(&store, "nightly").unwrap(), "2025-10-26T02:30:00Z");
}

#[test]
fn a_database_of_the_second_version_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("../schema.sql")).unwrap();
    conn.execute_batch(include_str!("../replication/schema.sql"))
        .unwrap();
    conn.execute_batch(
        "PRAGMA user_version = 2;
         INSERT INTO vm_replication_contexts
             (vm_name, vcenter_host, vm_id, vm_path, specification, current_status, created_at, updated_at)
         VALUES ('web', 'vc', 'vm-1', '/DC/vm/web', '{}', 'discovered', 't', 't')",
    )
    .unwrap();
    drop(conn);
    for _ in 0..2 {
        let store = Store::open(&path).unwrap();
        assert_eq!(store.contexts().unwrap()[0].vm_name, "web");
        known(&store, &["nightly"], "2026-11-30T01:00:00Z");
        assert!(ats(&store, RunsWanted::Taken).is_empty());
    }
}

#[test]
fn an_instant_that_was_written_by_hand_and_is_none_is_an_error() {
    let (_dir, store) = store();
    known(&store, &["nightly"], "2026-11-30T01:00:00Z");
    store
        .conn
        .lock()
        .execute("UPDATE schedules SET settled_until = 'yesterday'", [])
        .unwrap();
    assert!(matches!(
        store.schedule_settled_until("nightly"),
        Err(StoreError::Sqlite(_))
    ));
}
