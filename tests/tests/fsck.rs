//! `volumed fsck`: finds what was made wrong on purpose, finds nothing where nothing is, and changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use rusqlite::Connection;
use whole_system_tests::{Appliance, Outcome, VM, volumed};

const MIB: u64 = 1 << 20;

fn fsck(appliance: &Appliance) -> Outcome {
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let config = path(&appliance.dir().join("volumed.toml"));
    let (database, root) = (path(&appliance.setup.database), path(&appliance.setup.local_root));
    volumed([
        "fsck",
        "--config",
        &config,
        "--provider",
        "local",
        "--vm-id",
        VM,
        "--database",
        &database,
        "--local-root",
        &root,
    ])
}

/// Two volumes, one of them attached and leased; the daemon has stopped.
async fn site() -> Option<(Appliance, String, String)> {
    let mut appliance = Appliance::started().await?;
    let attached = appliance.create("attached", MIB).await.id;
    let idle = appliance.create("idle", MIB).await.id;
    appliance.attach(attached).await;
    assert!(appliance.stop().await.success());
    Some((appliance, attached.to_string(), idle.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_nothing_is_and_nothing_is_changed() {
    let Some((appliance, ..)) = site().await else {
        return;
    };
    let before = fs::read(&appliance.setup.database).unwrap();
    let outcome = fsck(&appliance);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("nothing was found"), "{outcome:?}");
    assert_eq!(fs::read(&appliance.setup.database).unwrap(), before);
    assert_eq!(appliance.loops().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_it_says_so_and_what_it_could_not_ask() {
    let Some((mut appliance, ..)) = site().await else {
        return;
    };
    appliance.start().await;
    let outcome = fsck(&appliance);
    // The embedded provider belongs to the daemon that runs.
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stdout.contains("a daemon runs on it"), "{outcome:?}");
    assert!(outcome.stdout.contains("NOT EXAMINED"), "{outcome:?}");
    assert!(appliance.client().status().await.unwrap().readiness.ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_daemon_writes_is_found() {
    let Some((appliance, attached, idle)) = site().await else {
        return;
    };
    let whole = fs::read(&appliance.setup.database).unwrap();
    let rules = [
        ("in use without an attachment", format!("UPDATE volumes SET state = 'in_use' WHERE id = '{idle}'"), "without an attachment"),
        ("detaching for nobody", format!("UPDATE volumes SET state = 'detaching' WHERE id = '{attached}'"), "without an operation"),
        ("available and attached", format!("UPDATE volumes SET state = 'available' WHERE id = '{attached}'"), "has not ended"),
        ("another identity", "UPDATE mappings SET identity = 'serial:0123456789abcdef0123'".to_owned(), "its own is"),
        ("another size", "UPDATE mappings SET size_bytes = 4096".to_owned(), "a device of"),
        ("another boot", "UPDATE mappings SET boot_id = 'another'".to_owned(), "of another boot"),
        (
            "two writers",
            format!(
                "DROP INDEX lease_live_writer; INSERT INTO leases SELECT x, '{attached}', 1, 'transfer', 'write', 'x', NULL, 0, 60,
                 '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', NULL, NULL FROM (SELECT '019356a0-0000-7000-8000-000000000001' x
                 UNION SELECT '019356a0-0000-7000-8000-000000000002')"
            ),
            "has 2 writers",
        ),
        ("a lost key", "INSERT INTO idempotency_keys VALUES ('k', 'h', 'operation', 'nothing', '2026-01-01T00:00:00Z')".to_owned(), "lead to nothing"),
        (
            "a journal of nobody's",
            format!(
                "INSERT INTO operations (id, kind, status, volume_id, request, actor, created_at, updated_at) VALUES
                 ('019356a0-0000-7000-8000-000000000003', 'delete', 'running', '{idle}', '{{\"type\":\"delete\",\"confirm_name\":null}}', 'x',
                  '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
                 INSERT INTO operation_steps VALUES ('019356a0-0000-7000-8000-000000000003', 1, 'bind', 'started', NULL,
                  '2026-01-01T00:00:00Z')"
            ),
            "is no step of it",
        ),
        ("a reference to nothing", "PRAGMA foreign_keys = OFF; UPDATE attachments SET volume_id = 'x'".to_owned(), "refers to a row"),
        ("gone in the cloud", format!("UPDATE volumes SET provider_ref = 'nowhere' WHERE id = '{idle}'"), "GoneInCloud"),
        ("made in another VM", "UPDATE meta SET value = 'vm-x' WHERE key = 'vm_id'".to_owned(), "`vm-x`"),
        (
            "forgotten",
            format!("DELETE FROM operation_steps; DELETE FROM cloud_calls; DELETE FROM idempotency_keys;
                     DELETE FROM operations WHERE volume_id = '{idle}'; DELETE FROM volumes WHERE id = '{idle}'"),
            "Unrecorded",
        ),
    ];
    for (what, sql, expected) in rules {
        fs::write(&appliance.setup.database, &whole).unwrap();
        Connection::open(&appliance.setup.database)
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
        let outcome = fsck(&appliance);
        assert_eq!(outcome.code, Some(1), "{what}: {outcome:?}");
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.starts_with("FOUND") && line.contains(expected));
        let line = line.unwrap_or_else(|| panic!("{what}: {outcome:?}"));
        assert!(
            line.matches("; ").count() >= 2,
            "what, what it means, what to do: {line}"
        );
    }
    fs::write(&appliance.setup.database, &whole[..whole.len() / 2]).unwrap();
    let outcome = fsck(&appliance);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("volumed restore"), "{outcome:?}");
    fs::remove_file(&appliance.setup.database).unwrap();
    assert_eq!(fsck(&appliance).code, Some(2));
}
