//! Tests of the records of replications.

use super::super::{Store, StoreError};
use super::*;
use crate::model::{JobStatus, ReplicationType, Step};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("engine.db")).unwrap();
    (dir, store)
}

fn wanted(name: &str) -> NewJob {
    NewJob {
        vm_name: name.to_owned(),
        vcenter_host: "vc".to_owned(),
        vm_id: format!("vm-{name}"),
        vm_path: format!("/DC/vm/{name}"),
        specification: "{}".to_owned(),
        request: format!("{{\"name\":\"{name}\"}}"),
        ..NewJob::default()
    }
}

fn submitted(store: &Store, job: &NewJob) -> JobRow {
    match store.submit(job).unwrap() {
        Submission::New(job) => job,
        other => panic!("{other:?}"),
    }
}

fn completed(store: &Store, name: &str) -> JobRow {
    let job = submitted(store, &wanted(name));
    let turn = store.begin_attempt(&job.id).unwrap().unwrap();
    store.end_job(&turn, &JobEnd::Completed).unwrap();
    store.job(&job.id).unwrap().unwrap()
}

#[test]
fn jobs_of_one_second_have_ids_of_their_own_and_of_the_form() {
    let (_dir, store) = store();
    let ids: Vec<_> = (0..30)
        .map(|n| submitted(&store, &wanted(&n.to_string())).id)
        .collect();
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    for id in ids {
        let digits = id.strip_prefix("job-").unwrap();
        let (day, time) = digits.split_once('-').unwrap();
        assert_eq!((day.len(), time.len()), (8, 6), "{id}");
        assert!(
            (day.to_owned() + time).bytes().all(|b| b.is_ascii_digit()),
            "{id}"
        );
    }
}

#[test]
fn a_machine_has_one_job_at_a_time_and_its_type_follows_its_success() {
    let (_dir, store) = store();
    let first = submitted(&store, &wanted("a"));
    assert_eq!(first.replication_type, ReplicationType::Initial);
    let busy = store.submit(&wanted("a")).unwrap();
    assert_eq!(
        busy,
        Submission::Busy {
            job: first.id.clone()
        }
    );
    let turn = store.begin_attempt(&first.id).unwrap().unwrap();
    let failed = JobEnd::Failed {
        error: "x".into(),
        code: "y".into(),
        hint: None,
    };
    store.end_job(&turn, &failed).unwrap();
    assert_eq!(completed(&store, "a").replication_type, ReplicationType::Initial);
    assert_eq!(
        completed(&store, "a").replication_type,
        ReplicationType::Incremental
    );
    let context = &store.contexts().unwrap()[0];
    assert_eq!(
        (context.total_jobs, context.successful_jobs, context.failed_jobs),
        (3, 2, 1)
    );
    assert_eq!(context.status, ContextStatus::Replicated);
}

#[test]
fn two_machines_of_one_name_are_not_taken_for_one() {
    let (_dir, store) = store();
    completed(&store, "a");
    let mut moved = wanted("a");
    moved.vm_path = "/DC/vm/other/a".to_owned();
    submitted(&store, &moved);
    let mut stranger = wanted("a");
    stranger.vm_id = "vm-7".to_owned();
    let refused = store.submit(&stranger);
    assert!(
        matches!(refused, Err(StoreError::NameTaken { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_request_that_is_repeated_is_not_done_twice() {
    let (_dir, store) = store();
    let mut job = wanted("a");
    job.idempotency_key = Some("k".to_owned());
    let made = submitted(&store, &job);
    assert_eq!(store.submit(&job).unwrap(), Submission::Again(made.clone()));
    job.request = "{}".to_owned();
    assert_eq!(
        store.submit(&job).unwrap(),
        Submission::KeyReused { job: made.id }
    );
}

#[test]
fn what_an_earlier_attempt_still_writes_is_refused() {
    let (_dir, store) = store();
    let job = submitted(&store, &wanted("a"));
    let old = store.begin_attempt(&job.id).unwrap().unwrap();
    let new = store.begin_attempt(&job.id).unwrap().unwrap();
    assert!(new.attempt > old.attempt);
    let disk = Written {
        disk_id: "d",
        label: "d",
        path: None,
        capacity: 1,
        volume_id: "v",
        content: Content::Unknown,
    };
    let refusals = [
        store.begin_step(&old, Step::DisksAnalysed),
        store.begin_writing(&old, job.context, &disk),
        store.finish_disks(&old, job.context, &[]),
        store.note_failure(&old, "x"),
        store.end_job(&old, &JobEnd::Completed),
    ];
    for refused in refusals {
        assert!(
            matches!(refused, Err(StoreError::Superseded { .. })),
            "{refused:?}"
        );
    }
    store.begin_step(&new, Step::DisksAnalysed).unwrap();
    store.end_job(&new, &JobEnd::Completed).unwrap();
    assert!(store.begin_attempt(&job.id).unwrap().is_none());
}

#[test]
fn one_that_waits_is_cancelled_at_once_and_one_that_runs_by_whoever_runs_it() {
    let (_dir, store) = store();
    let waiting = submitted(&store, &wanted("a"));
    let stopped = store.request_cancel(&waiting.id).unwrap().unwrap();
    assert_eq!(stopped.status, JobStatus::Cancelled);
    let running = submitted(&store, &wanted("b"));
    let turn = store.begin_attempt(&running.id).unwrap().unwrap();
    let asked = store.request_cancel(&running.id).unwrap().unwrap();
    assert_eq!((asked.status, asked.cancel_requested), (JobStatus::Running, true));
    store.end_job(&turn, &JobEnd::Cancelled).unwrap();
    let again = store.request_cancel(&running.id).unwrap().unwrap();
    assert_eq!(again.status, JobStatus::Cancelled);
    let retried = store.retry_job(&running.id).unwrap().unwrap();
    assert_eq!(
        (retried.status, retried.cancel_requested),
        (JobStatus::Pending, false)
    );
    assert_eq!(store.request_cancel("job-x").unwrap(), None);
}

#[test]
fn a_mark_is_kept_while_changes_are_written_and_forgotten_for_anything_else() {
    let (_dir, store) = store();
    let job = submitted(&store, &wanted("a"));
    let turn = store.begin_attempt(&job.id).unwrap().unwrap();
    let writing = |content| Written {
        disk_id: "d",
        label: "d",
        path: Some("p"),
        capacity: 7,
        volume_id: "v",
        content,
    };
    let state = || store.disk_state(job.context, "d").unwrap().unwrap();
    store
        .begin_writing(&turn, job.context, &writing(Content::Unknown))
        .unwrap();
    let finished = FinishedDisk {
        disk_id: "d".into(),
        change_id: Some("u/1".into()),
        capacity: 7,
        digest: "x".into(),
        blocks: vec![1, 2],
    };
    store.finish_disks(&turn, job.context, &[finished]).unwrap();
    let equal = state();
    assert_eq!(
        (equal.content, equal.change_id.as_deref()),
        (Content::Equal, Some("u/1"))
    );
    store
        .begin_writing(&turn, job.context, &writing(Content::Updating))
        .unwrap();
    let updating = state();
    assert_eq!(
        (updating.content, updating.change_id.as_deref(), updating.blocks),
        (Content::Updating, Some("u/1"), Some(vec![1, 2]))
    );
    store
        .begin_writing(&turn, job.context, &writing(Content::Unknown))
        .unwrap();
    let unknown = state();
    assert_eq!(
        (unknown.content, unknown.change_id, unknown.digest, unknown.blocks),
        (Content::Unknown, None, None, None)
    );
}

#[test]
fn notes_are_told_once() {
    let (_dir, store) = store();
    let job = submitted(&store, &wanted("a"));
    let turn = store.begin_attempt(&job.id).unwrap().unwrap();
    for note in ["one", "one", "two"] {
        store.add_note(&turn, note).unwrap();
    }
    assert_eq!(store.job(&job.id).unwrap().unwrap().notes, ["one", "two"]);
}

#[test]
fn a_database_of_the_first_version_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("../schema.sql")).unwrap();
    conn.execute_batch(
        "PRAGMA user_version = 1;
         INSERT INTO copies (source, machine, status, started_at) VALUES ('s', 'm', 'completed', 't')",
    )
    .unwrap();
    drop(conn);
    let store = Store::open(&path).unwrap();
    assert!(store.contexts().unwrap().is_empty());
    let count: i64 = store
        .conn
        .lock()
        .query_row("SELECT count(*) FROM copies", [], |r| r.get(0))
        .unwrap();
    assert_eq!(count, 1);
}
