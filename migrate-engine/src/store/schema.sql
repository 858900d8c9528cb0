-- The engine's own database. Version: PRAGMA user_version (store/mod.rs).

-- What was copied into which volume: a volume whose copy completed is not written over unasked.
CREATE TABLE disk_copies (
    id           INTEGER PRIMARY KEY,
    volume_id    TEXT NOT NULL,
    source_vm    TEXT NOT NULL,
    source_disk  TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    digest       TEXT,
    error        TEXT,
    started_at   TEXT NOT NULL,
    finished_at  TEXT
) STRICT;
CREATE INDEX disk_copy_by_volume ON disk_copies (volume_id, id);

-- What was published over NBD. An export that was not withdrawn is live, and a volume has at most one of those.
CREATE TABLE nbd_exports (
    id           INTEGER PRIMARY KEY,
    volume_id    TEXT NOT NULL,
    export_name  TEXT NOT NULL,
    device_path  TEXT NOT NULL,
    uri          TEXT NOT NULL,
    backend      TEXT NOT NULL,
    published_at TEXT NOT NULL,
    withdrawn_at TEXT
) STRICT;
CREATE UNIQUE INDEX nbd_export_live ON nbd_exports (volume_id) WHERE withdrawn_at IS NULL;
