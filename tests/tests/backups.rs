//! Backups while the daemon works, and restores: what was there is there again, and nothing is believed that is only recorded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt;
use rusqlite::Connection;
use volume_client::client::{DEFAULT_WAIT, IdempotencyKey};
use volume_client::types::{
    AttachVolume, ErrorCode, FindingKind, NewToken, NewVolume, OperationStatus, TokenScope, VolumeId,
    VolumeState,
};
use whole_system_tests::{Appliance, Holder, Mount, VM, code_of, volumectl, volumed, wait_until};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn volume(name: &str) -> NewVolume {
    NewVolume {
        name: name.into(),
        size_bytes: MIB,
        source: None,
    }
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::from_str(text).unwrap()
}

/// What is beside the database and under way.
fn leftovers(database: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(database.parent().unwrap()).unwrap().flatten();
    let unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains("under-way") || name.contains("partial")
    };
    entries.map(|entry| entry.path()).filter(unfinished).collect()
}

fn back_up(appliance: &Appliance, to: &Path) {
    let outcome = volumectl(&appliance.setup.socket, ["backup", to.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

fn restore(appliance: &Appliance, from: &Path, more: &[&str]) -> whole_system_tests::Outcome {
    let database = appliance.setup.database.to_str().unwrap();
    let from = from.to_str().unwrap();
    volumed([&["restore", "--database", database, "--from", from], more].concat())
}

/// Waits until nothing of a restore waits for cloud and kernel any more.
async fn proven(appliance: &Appliance) {
    wait_until("every volume to be proven", PATIENCE, async || {
        let findings = appliance.client().status().await.unwrap().findings;
        (!findings.iter().any(|found| found.kind == FindingKind::Unproven)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_private_and_never_replaces_by_itself() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let load = {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let new = volume(&format!("load {n}"));
                if client.create_volume_and_wait(&new, DEFAULT_WAIT).await.is_err() {
                    return;
                }
            }
        })
    };
    let mut counts = Vec::new();
    for n in 0..5 {
        let to = appliance.dir().join(format!("backup-{n}"));
        let before = client.status().await.unwrap().counts.volumes;
        back_up(&appliance, &to);
        let mode = fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read it: {mode:o}");
        let copy = Connection::open(&to).unwrap();
        let found: String = copy
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(found, "ok");
        let volumes: u64 = copy
            .query_row("SELECT count(*) FROM volumes", [], |row| row.get(0))
            .unwrap();
        assert!(
            volumes >= before,
            "{volumes} volumes, and {before} were acknowledged before"
        );
        counts.push(volumes);
    }
    load.abort();
    assert!(counts[0] < counts[4], "there was no load: {counts:?}");
    assert_eq!(leftovers(&appliance.setup.database), Vec::<PathBuf>::new());

    let to = appliance.dir().join("backup-0");
    let kept = fs::read(&to).unwrap();
    let refused = volumectl(&appliance.setup.socket, ["backup", to.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(fs::read(&to).unwrap(), kept);
    let forced = volumectl(
        &appliance.setup.socket,
        ["backup", "--force", to.to_str().unwrap()],
    );
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_ne!(fs::read(&to).unwrap(), kept);

    // The same without the API, beside the daemon.
    let database = appliance.setup.database.to_str().unwrap();
    let to = appliance.dir().join("direct");
    let arguments = ["backup", "--database", database, "--to", to.to_str().unwrap()];
    assert_eq!(volumed(arguments).code, Some(0));
    assert_eq!(volumed(arguments).code, Some(1), "it is there already");
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o077, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_room_is_refused_and_leaves_nothing() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    let mount = Mount::memory(appliance.dir().join("small"), 16 * MIB);
    appliance.setup.database = mount.point().join("v.db");
    appliance.start().await;
    appliance.create("kept", MIB).await;
    mount.fill();
    let to = appliance.dir().join("backup");
    let refused = volumectl(&appliance.setup.socket, ["backup", to.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("store_full") && refused.stderr.contains("room"),
        "{refused:?}"
    );
    assert!(!to.exists());
    assert_eq!(leftovers(&appliance.setup.database), Vec::<PathBuf>::new());
    assert_eq!(leftovers(&to), Vec::<PathBuf>::new());
    mount.free();
    back_up(&appliance, &to);
}

/// The world went on after the backup: one volume was deleted, one attached, one detached, one made.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_not_taken_at_its_word() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let client = appliance.client();
    let kept = client.clone().with_idempotency_key(key("kept"));
    let first = kept.create_volume(&volume("deleted later")).await.unwrap();
    let deleted = client
        .wait_for_completion(first.id, DEFAULT_WAIT)
        .await
        .unwrap()
        .volume_id;
    let attached = appliance.create("attached later", MIB).await.id;
    let detached = appliance.create("detached later", MIB).await.id;
    appliance.attach(detached).await;
    let token = NewToken {
        name: "ci".to_owned(),
        scope: TokenScope::Admin,
        expires_at: None,
    };
    let secret = client.create_token(&token).await.unwrap().secret;
    let to = appliance.dir().join("backup");
    back_up(&appliance, &to);

    client.revoke_token("ci").await.unwrap();
    client
        .delete_and_wait(deleted, Some("deleted later"), DEFAULT_WAIT)
        .await
        .unwrap();
    appliance.attach(attached).await;
    appliance.detach(detached).await;
    let unknown = appliance.create("made later", MIB).await.id;
    let latest = latest_event(&appliance).await;
    let refused = restore(&appliance, &to, &[]);
    assert_eq!(refused.code, Some(1), "a daemon runs: {refused:?}");
    assert!(
        refused.stderr.contains("in use by another volumed"),
        "{refused:?}"
    );
    assert!(appliance.stop().await.success());

    let restored = restore(&appliance, &to, &[]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.stdout.contains(".before-restore-"), "{restored:?}");
    appliance.start().await;
    let client = appliance.client();
    assert!(
        client.introspect_token(secret).await.unwrap().is_none(),
        "it was revoked since"
    );
    // The comparison takes seconds; until then nothing is done about a volume of then.
    let attach = AttachVolume { vm_id: VM.into() };
    assert_eq!(
        code_of(client.attach_volume(attached, &attach).await),
        ErrorCode::DatabaseRestored
    );
    assert_eq!(
        code_of(client.delete_volume(deleted, None).await),
        ErrorCode::DatabaseRestored
    );
    assert_eq!(
        code_of(client.volume_device(detached).await),
        ErrorCode::NotAttached,
        "it was attached then"
    );
    proven(&appliance).await;

    assert!(
        latest_event(&appliance).await > latest,
        "a client that saw event {latest} would miss what follows"
    );
    let kinds = |id: VolumeId| {
        let client = client.clone();
        async move {
            let findings = client.status().await.unwrap().findings;
            findings
                .into_iter()
                .filter(|found| found.volume_id == Some(id))
                .map(|found| found.kind)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(kinds(deleted).await, [FindingKind::GoneInCloud]);
    assert_eq!(kinds(attached).await, [FindingKind::AttachedUnknown]);
    assert_eq!(kinds(detached).await, []);
    assert_eq!(code_of(client.volume(unknown).await), ErrorCode::VolumeNotFound);
    // The key of then gives the operation of then.
    let again = client
        .clone()
        .with_idempotency_key(key("kept"))
        .create_volume(&volume("deleted later"))
        .await;
    assert_eq!(again.unwrap().id, first.id);
    // What is attached is taken over, and everything goes on.
    appliance.attach(attached).await;
    appliance.attach(detached).await;
    for id in [attached, detached] {
        appliance.detach(id).await;
    }
    assert_eq!(
        code_of(client.delete_volume(attached, None).await),
        ErrorCode::ConfirmationRequired,
        "nobody knows any more who wrote to it"
    );
    client
        .delete_and_wait(deleted, Some("deleted later"), DEFAULT_WAIT)
        .await
        .unwrap();
}

/// Its lease may be younger than the copy: a second writer must not come before the first one has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_device_somebody_has_open_stays_unproven() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("used", MIB).await.id;
    let other = appliance.create("idle", MIB).await.id;
    let to = appliance.dir().join("backup");
    back_up(&appliance, &to);
    let path = appliance.attach(id).await.device_path;
    let holder = Holder::of(fs::File::open(&path).unwrap());
    appliance.kill().await;
    assert_eq!(restore(&appliance, &to, &[]).code, Some(0));
    appliance.start().await;
    let client = appliance.client();
    let attach = AttachVolume { vm_id: VM.into() };
    wait_until("the idle volume to be proven", PATIENCE, async || {
        client.attach_volume(other, &attach).await.ok()
    })
    .await;
    let refused = code_of(client.attach_volume(id, &attach).await);
    assert_eq!(refused, ErrorCode::DatabaseRestored);
    drop(holder);
    proven(&appliance).await;
    assert_eq!(appliance.attach(id).await.device_path, path);
}

async fn latest_event(appliance: &Appliance) -> u64 {
    appliance.create("for an event", MIB).await;
    let mut events = appliance.client().events(Some(0));
    let mut latest = 0;
    // The stream never ends: it is over when it has been silent for a moment.
    while let Ok(Ok(Some(event))) = tokio::time::timeout(Duration::from_secs(1), events.try_next()).await {
        assert!(event.id > latest, "{} after {latest}", event.id);
        latest = event.id;
    }
    latest
}

/// Backups of databases with an operation of every kind under way: none is gone on with or undone.
#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_backups_time_end_as_failed_and_send_nothing() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(appliance.create(&format!("disk {n}"), MIB).await.id);
    }
    appliance.attach(ids[1]).await;
    appliance.attach(ids[5]).await;
    let to = appliance.dir().join("backup");
    back_up(&appliance, &to);
    assert!(appliance.stop().await.success());
    // As if the copy had been made in the middle of these.
    let kinds = [
        (
            "attach",
            "attaching",
            "cloud_attach",
            r#"{"type":"attach","vm_id":"appliance-1"}"#,
        ),
        ("detach", "detaching", "cloud_detach", r#"{"type":"detach"}"#),
        (
            "delete",
            "deleting",
            "cloud_delete",
            r#"{"type":"delete","confirm_name":null}"#,
        ),
        (
            "resize",
            "extending",
            "cloud_resize",
            r#"{"type":"resize","size_bytes":2097152}"#,
        ),
        (
            "create",
            "creating",
            "cloud_create",
            r#"{"type":"create","name":"disk 4","size_bytes":1048576,"source":null}"#,
        ),
        ("correlate", "in_use", "await_device", r#"{"type":"correlate"}"#),
    ];
    let copy = Connection::open(&to).unwrap();
    let form: String = copy
        .query_row(
            "SELECT request FROM operations WHERE kind = 'attach' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&form).unwrap(),
        serde_json::from_str::<serde_json::Value>(kinds[0].3).unwrap(),
        "the rows below are not as the daemon writes them"
    );
    for (n, (kind, state, step, request)) in kinds.iter().enumerate() {
        let (operation, volume) = (uuid::Uuid::now_v7().to_string(), ids[n].to_string());
        copy.execute("UPDATE volumes SET state = ?2 WHERE id = ?1", [&volume, *state])
            .unwrap();
        copy.execute(
            "INSERT INTO operations (id, kind, status, volume_id, request, actor, created_at, updated_at)
             VALUES (?1, ?2, 'running', ?3, ?4, 'test', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')",
            [&operation, *kind, &volume, *request],
        )
        .unwrap();
        copy.execute(
            "INSERT INTO operation_steps (operation_id, seq, step, state, at) VALUES (?1, 1, ?2, 'started', '2026-01-01T00:00:00Z')",
            [&operation, *step],
        )
        .unwrap();
    }
    copy.execute(
        "UPDATE volumes SET provider_ref = NULL, identity = NULL WHERE id = ?1",
        [ids[4].to_string()],
    )
    .unwrap();
    drop(copy);
    assert_eq!(restore(&appliance, &to, &[]).code, Some(0));
    appliance.start().await;
    let client = appliance.client();
    let all: Vec<_> = client
        .list_all_operations(Default::default())
        .try_collect()
        .await
        .unwrap();
    let ended: Vec<_> = all
        .iter()
        .filter(|op| op.error_code == Some(ErrorCode::DatabaseRestored))
        .collect();
    assert_eq!(ended.len(), kinds.len(), "{all:#?}");
    assert!(ended.iter().all(|op| op.status == OperationStatus::Failed));
    proven(&appliance).await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(
            client.volume(*id).await.unwrap().state,
            VolumeState::Available,
            "disk {n}"
        );
    }
    // Both are still plugged in: nobody has detached, deleted or undone anything.
    assert_eq!(appliance.loops().len(), 2);
    // The one whose create was cut off is known again by its name in the cloud.
    assert!(client.volume(ids[4]).await.unwrap().provider_volume_id.is_some());
    appliance.attach(ids[4]).await;
    // A second start does not do it again.
    assert!(appliance.stop().await.success());
    appliance.start().await;
    assert_eq!(
        appliance.client().volume(ids[4]).await.unwrap().state,
        VolumeState::InUse
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_will_not_do_is_refused_and_nothing_is_touched() {
    let (Some(mut appliance), Some(mut other)) = (Appliance::started().await, Appliance::started().await)
    else {
        return;
    };
    appliance.create("mine", MIB).await;
    let (good, foreign) = (appliance.dir().join("good"), appliance.dir().join("foreign"));
    back_up(&appliance, &good);
    back_up(&other, &foreign);
    assert!(appliance.stop().await.success() && other.stop().await.success());
    let database = appliance.setup.database.clone();
    let before = fs::read(&database).unwrap();

    let damaged = appliance.dir().join("damaged");
    let mut bytes = fs::read(&good).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&damaged, bytes).unwrap();
    let cut = appliance.dir().join("cut");
    fs::write(&cut, &fs::read(&good).unwrap()[..8192]).unwrap();
    let text = appliance.dir().join("text");
    fs::write(&text, "holiday ".repeat(2000)).unwrap();
    let newer = appliance.dir().join("newer");
    fs::copy(&good, &newer).unwrap();
    Connection::open(&newer)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    for (copy, why) in [
        (&damaged, "damaged"),
        (&cut, "damaged"),
        (&text, "not a database of volumed"),
        (&newer, "newer"),
        (&foreign, "--other-installation"),
        (&appliance.dir().join("nothing"), "cannot open"),
    ] {
        let refused = restore(&appliance, copy, &[]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
        assert_eq!(fs::read(&database).unwrap(), before);
        assert_eq!(leftovers(&database), Vec::<PathBuf>::new());
    }
    assert_eq!(
        restore(&appliance, &foreign, &["--other-installation"]).code,
        Some(0)
    );
    let kept = fs::read_dir(appliance.dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let kept: Vec<_> = kept
        .filter(|path| {
            let name = path.to_string_lossy();
            name.contains("before-restore") && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read(&kept[0]).unwrap(), before);
    // And back again, by the one that was kept.
    assert_eq!(
        restore(&appliance, &kept[0], &["--other-installation"]).code,
        Some(0)
    );
    appliance.start().await;
    proven(&appliance).await;
    assert_eq!(appliance.client().status().await.unwrap().counts.volumes, 1);
}

/// A crash in the middle of a restore: whatever is in place then, no daemon starts on it, and a repetition comes to the end.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_keeps_daemons_away_until_it_is_repeated() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    appliance.create("kept", MIB).await;
    let to = appliance.dir().join("backup");
    back_up(&appliance, &to);
    appliance.kill().await;
    let database = appliance.setup.database.clone();
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", database.display()));
    let former = beside(".before-restore-test");
    assert!(beside("-wal").exists(), "a killed daemon leaves its log");
    for moved in 0..3 {
        // As it is after the note, after the database is renamed, after its log is.
        fs::write(beside(".restoring"), former.to_str().unwrap()).unwrap();
        if moved > 0 {
            fs::rename(&database, &former).unwrap();
        }
        if moved > 1 {
            fs::rename(beside("-wal"), format!("{}-wal", former.display())).unwrap();
        }
        let (status, log) = appliance.start_in_vain().await;
        assert!(
            !status.success() && log.contains("run `volumed restore` again"),
            "{moved}: {log}"
        );
        let restored = restore(&appliance, &to, &[]);
        assert_eq!(restored.code, Some(0), "{moved}: {restored:?}");
        assert!(!beside(".restoring").exists() && former.exists(), "{moved}");
        assert!(
            !beside("-wal").exists(),
            "the new database must not meet the old one's log"
        );
        appliance.start().await;
        proven(&appliance).await;
        assert_eq!(appliance.client().status().await.unwrap().counts.volumes, 1);
        appliance.kill().await;
        for rest in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{rest}", former.display()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_took_anothers_place_takes_its_backup_over_and_a_copy_does_not() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let id = appliance.create("kept", MIB).await.id;
    let to = appliance.dir().join("backup");
    back_up(&appliance, &to);
    assert!(appliance.stop().await.success());
    appliance.setup.vm = "appliance-2".into();
    let (status, log) = appliance.start_in_vain().await;
    assert!(!status.success() && log.contains("--other-vm"), "{log}");
    assert_eq!(restore(&appliance, &to, &[]).code, Some(0));
    let (status, _) = appliance.start_in_vain().await;
    assert!(
        !status.success(),
        "a restore alone does not say that the machine was replaced"
    );
    assert_eq!(restore(&appliance, &to, &["--other-vm"]).code, Some(0));
    appliance.start().await;
    proven(&appliance).await;
    appliance.attach(id).await;
}
