//! A database of each earlier version becomes what a new one is, and keeps its rows.

use super::*;

/// What `schema.sql` was at version 4: without what the last step brings.
fn version_four() -> String {
    let text = without_table(SCHEMA, "tokens");
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("ON tokens")).collect();
    kept.join("\n") + "\n"
}

/// What it was at version 3.
fn version_three() -> String {
    without_table(&version_four(), "unproven_volumes")
}

/// What it was at version 2.
fn version_two() -> String {
    let text = without_table(&version_three(), "ignored_findings");
    let text = text.replace(
        "'snapshot_delete',\n                                                   'adopt'))",
        "'snapshot_delete'))",
    );
    text.replace("('operation', 'lease', 'finding')", "('operation', 'lease')")
}

/// What it was at version 1.
fn version_one() -> String {
    let text = without_table(&version_two(), "disputed_plug_ins");
    let is_later = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("baseline ") || line.starts_with("mark ")
    };
    let kept: Vec<&str> = text.lines().filter(|line| !is_later(line)).collect();
    kept.join("\n")
}

fn without_table(schema: &str, name: &str) -> String {
    let (before, rest) = schema.split_once(&format!("CREATE TABLE {name} ")).unwrap();
    let (_, after) = rest.split_once("STRICT").unwrap();
    let (_, after) = after.split_once(";\n").unwrap();
    format!("{before}{after}")
}

/// Everything that the schema says, told by SQLite itself: columns, keys, references, indexes, and each rule's text.
fn shape(conn: &Connection) -> Vec<String> {
    let lines = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let mut all = lines(
        "SELECT format('%s.%s %s %d %s %d', m.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk)
         FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1",
    );
    all.extend(lines(
        "SELECT format('%s.%s -> %s.%s', m.name, f.\"from\", f.\"table\", f.\"to\")
         FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY 1",
    ));
    all.extend(lines(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1",
    ));
    for sql in
        lines("SELECT sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%CHECK%' ORDER BY name")
    {
        let plain: String = sql
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default())
            .collect();
        let rules = plain.split("CHECK").skip(1);
        all.extend(rules.map(|rule| rule.split_whitespace().collect()));
    }
    all
}

fn old(schema: &str, version: i64) -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(schema).unwrap();
    let mark = format!("PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION_ID};");
    conn.execute_batch(&mark).unwrap();
    conn
}

fn new() -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    prepare(&mut conn, Path::new("in memory")).unwrap();
    conn
}

fn count(conn: &Connection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    conn.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_database_of_version_one_becomes_what_a_new_one_is_and_keeps_its_rows() {
    let (mut old, new) = (old(&version_one(), 1), new());
    assert_ne!(shape(&old), shape(&new), "version 1 lacks something");
    old.execute("INSERT INTO meta VALUES ('install_id', 'abc')", [])
        .unwrap();
    for _ in 0..2 {
        prepare(&mut old, Path::new("in memory")).unwrap();
        assert_eq!(shape(&old), shape(&new));
    }
    let kept: String = old
        .query_row("SELECT value FROM meta", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "abc");
}

#[test]
fn a_database_of_version_three_becomes_what_a_new_one_is() {
    let (mut old, new) = (old(&version_three(), 3), new());
    assert_ne!(shape(&old), shape(&new), "version 3 lacks something");
    prepare(&mut old, Path::new("in memory")).unwrap();
    assert_eq!(shape(&old), shape(&new));
}

/// One volume with an operation, its journal and a call, and the key that the operation came with.
const ROWS_OF_VERSION_TWO: &str = "
    INSERT INTO volumes (id, name, size_bytes, state, provider, created_at, updated_at)
        VALUES ('v', 'disk', 4096, 'attaching', 'local', 'then', 'then');
    INSERT INTO operations (id, kind, status, volume_id, vm_id, request, waiting_for, actor, created_at, updated_at)
        VALUES ('o', 'attach', 'running', 'v', 'vm', '{}', 'the cloud', 'uid:0', 'then', 'then');
    INSERT INTO operations (id, kind, status, volume_id, request, response, actor, created_at, updated_at, completed_at)
        VALUES ('p', 'create', 'completed', 'v', '{}', '{}', 'uid:0', 'then', 'then', 'then');
    INSERT INTO operation_steps VALUES ('o', 1, 'reserve', 'started', NULL, 'then');
    INSERT INTO operation_steps VALUES ('o', 2, 'reserve', 'done', 'generation 1', 'then');
    INSERT INTO cloud_calls VALUES ('c', 'o', 'cloud_attach', 'then', 'later', NULL, NULL);
    INSERT INTO idempotency_keys VALUES ('k', 'hash', 'operation', 'o', 'then');";

#[test]
fn a_database_of_version_two_keeps_operations_journals_and_calls() {
    let mut old = old(&version_two(), 2);
    old.execute_batch(ROWS_OF_VERSION_TWO).unwrap();
    let adopt = "INSERT INTO operations (id, kind, status, volume_id, request, actor, created_at, updated_at)
                 VALUES ('a', 'adopt', 'pending', 'w', '{}', 'uid:0', 'now', 'now')";
    assert!(old.execute(adopt, []).is_err(), "version 2 knows no `adopt`");

    prepare(&mut old, Path::new("in memory")).unwrap();
    assert_eq!(shape(&old), shape(&new()));
    for (table, rows) in [
        ("operations", 2),
        ("operation_steps", 2),
        ("cloud_calls", 1),
        ("idempotency_keys", 1),
    ] {
        assert_eq!(count(&old, table), rows, "{table}");
    }
    let (kind, waiting): (String, String) = old
        .query_row(
            "SELECT kind, waiting_for FROM operations WHERE id = 'o'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((kind.as_str(), waiting.as_str()), ("attach", "the cloud"));

    // The rules hold as before, and the new kind is known.
    old.execute_batch("PRAGMA foreign_keys = ON;").unwrap();
    let second = adopt.replace("'w'", "'v'");
    assert!(
        old.execute(&second, []).is_err(),
        "a volume has one open operation"
    );
    assert!(old.execute(adopt, []).is_err(), "there is no volume `w`");
    assert!(old.execute("DELETE FROM operations WHERE id = 'o'", []).is_err());
    old.execute(
        "UPDATE operations SET status = 'completed', completed_at = 'now'",
        [],
    )
    .unwrap();
    old.execute(&second, []).unwrap();
}

#[test]
fn a_row_that_refers_to_none_stops_the_migration_and_nothing_is_changed() {
    let mut old = old(&version_two(), 2);
    old.execute_batch("PRAGMA foreign_keys = OFF;").unwrap();
    old.execute(
        "INSERT INTO operation_steps VALUES ('none', 1, 'reserve', 'started', NULL, 'then')",
        [],
    )
    .unwrap();
    let before = shape(&old);
    assert!(prepare(&mut old, Path::new("in memory")).is_err());
    assert_eq!(shape(&old), before);
}
