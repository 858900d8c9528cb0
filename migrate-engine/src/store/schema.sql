-- The engine's own database. Version: PRAGMA user_version (store/mod.rs).

-- The copies of machines. A disk's copy is finished only when its machine's is: until then it may be written over.
CREATE TABLE copies (
    id           INTEGER PRIMARY KEY,
    source       TEXT NOT NULL,
    machine      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    error        TEXT,
    started_at   TEXT NOT NULL,
    finished_at  TEXT
) STRICT;

-- What was copied into which volume: a volume whose copy is finished is not written over unasked.
CREATE TABLE disk_copies (
    id           INTEGER PRIMARY KEY,
    copy_id      INTEGER NOT NULL REFERENCES copies (id),
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

-- What was, or was about to be, published over NBD, and by which run. Recorded before it is published. An export that
-- was not withdrawn may be live, and a volume has at most one of those.
CREATE TABLE nbd_exports (
    id           INTEGER PRIMARY KEY,
    volume_id    TEXT NOT NULL,
    export_name  TEXT NOT NULL,
    device_path  TEXT NOT NULL,
    uri          TEXT NOT NULL,
    backend      TEXT NOT NULL,
    listen       TEXT NOT NULL,
    run          TEXT NOT NULL,
    published_at TEXT NOT NULL,
    withdrawn_at TEXT
) STRICT;
CREATE UNIQUE INDEX nbd_export_live ON nbd_exports (volume_id) WHERE withdrawn_at IS NULL;
