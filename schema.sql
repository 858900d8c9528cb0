-- The daemon's database, whole and current. Version: PRAGMA user_version (volumed/src/store/schema.rs).
-- Times are RFC 3339 UTC text, sizes are bytes, ids are UUIDs in their one spelling.

-- Facts about this installation: install_id, provider, vm_id; of a copy backed_up_at, of a restored one restored, restored_fence.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Volumes of ours. A deleted one stays as a tombstone: its id is never used again.
CREATE TABLE volumes (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL CHECK (size_bytes > 0),
    state        TEXT NOT NULL CHECK (state IN ('creating', 'available', 'attaching', 'in_use', 'detaching',
                                                'extending', 'deleting', 'error', 'deleted')),
    provider     TEXT NOT NULL,
    provider_ref TEXT UNIQUE,
    identity     TEXT,                        -- what its device will carry: `serial:…` or `loop:…`
    source_vm    TEXT,
    source_disk  TEXT,
    generation   INTEGER NOT NULL DEFAULT 0,  -- of its latest attachment
    fresh_zero   INTEGER NOT NULL DEFAULT 0 CHECK (fresh_zero IN (0, 1)), -- the provider promised zeroes
    written      INTEGER NOT NULL DEFAULT 0 CHECK (written IN (0, 1)),    -- a writer was let at it
    handed_out   INTEGER NOT NULL DEFAULT 0 CHECK (handed_out IN (0, 1)), -- never goes back to 0
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    CHECK ((source_vm IS NULL) = (source_disk IS NULL))
) STRICT;
CREATE UNIQUE INDEX volume_identity_live ON volumes (identity) WHERE state <> 'deleted';
CREATE UNIQUE INDEX volume_source_live ON volumes (source_vm, source_disk)
    WHERE state <> 'deleted' AND source_vm IS NOT NULL;

-- Attachments of a volume to a VM. One that has not ended is live, and a volume has at most one of those.
CREATE TABLE attachments (
    id          INTEGER PRIMARY KEY,
    volume_id   TEXT NOT NULL REFERENCES volumes (id),
    vm_id       TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('attaching', 'attached', 'detaching', 'detached')),
    created_at  TEXT NOT NULL,
    attached_at TEXT,
    ended_at    TEXT,
    baseline    TEXT,                          -- the newest disk before the attach was sent, as BOOT:DISKSEQ
    mark        TEXT,                          -- what tells it from other attachments in the cloud, when it was bound
    UNIQUE (volume_id, generation),
    CHECK ((ended_at IS NOT NULL) = (state = 'detached'))
) STRICT;
CREATE UNIQUE INDEX attachment_live_volume ON attachments (volume_id) WHERE ended_at IS NULL;

-- Which device an attachment has. The key is the identity; path and number are what was observed at a time.
-- While it is live, no other volume can hold its path, number or identity; an incarnation belongs to one row for ever.
CREATE TABLE mappings (
    id              INTEGER PRIMARY KEY,
    attachment_id   INTEGER NOT NULL REFERENCES attachments (id),
    volume_id       TEXT NOT NULL REFERENCES volumes (id),
    identity        TEXT NOT NULL,
    boot_id         TEXT NOT NULL,
    diskseq         INTEGER,
    size_bytes      INTEGER NOT NULL CHECK (size_bytes > 0),
    device_path     TEXT NOT NULL,
    devnum          TEXT NOT NULL,
    written_sectors INTEGER NOT NULL,          -- the device's own count when it was bound
    bound_at        TEXT NOT NULL,
    released_at     TEXT,
    UNIQUE (boot_id, diskseq)
) STRICT;
CREATE UNIQUE INDEX mapping_live_volume ON mappings (volume_id) WHERE released_at IS NULL;
CREATE UNIQUE INDEX mapping_live_path ON mappings (device_path) WHERE released_at IS NULL;
CREATE UNIQUE INDEX mapping_live_devnum ON mappings (devnum) WHERE released_at IS NULL;
CREATE UNIQUE INDEX mapping_live_identity ON mappings (identity) WHERE released_at IS NULL;

-- Plug-ins that were seen beside another one with their identity: never matched anew while they are plugged in.
CREATE TABLE disputed_plug_ins (
    boot_id TEXT NOT NULL,
    diskseq INTEGER NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (boot_id, diskseq)
) STRICT, WITHOUT ROWID;

-- Volumes that were not compared with cloud and kernel since the database was restored: nothing is changed about them.
CREATE TABLE unproven_volumes (
    volume_id      TEXT PRIMARY KEY REFERENCES volumes (id),
    recorded_state TEXT NOT NULL,              -- what the copy said
    since          TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Operations: written before anything is done. One that has not ended is open, and a volume has at most one of those.
CREATE TABLE operations (
    id               TEXT PRIMARY KEY,
    kind             TEXT NOT NULL CHECK (kind IN ('create', 'attach', 'detach', 'delete', 'resize', 'correlate',
                                                   'snapshot_create', 'snapshot_revert', 'snapshot_delete',
                                                   'adopt')),
    status           TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    volume_id        TEXT NOT NULL REFERENCES volumes (id),
    vm_id            TEXT,
    request          TEXT NOT NULL,
    response         TEXT,
    failure_code     TEXT,                     -- once set, the operation is being undone, or was
    failure_message  TEXT,
    failure_hint     TEXT,
    waiting_for      TEXT,                     -- while it runs: what it waits for, for people
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    actor            TEXT NOT NULL,
    request_id       TEXT,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    completed_at     TEXT,
    CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    CHECK (status <> 'completed' OR failure_code IS NULL),
    CHECK (status NOT IN ('failed', 'cancelled') OR failure_code IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX operation_open_volume ON operations (volume_id) WHERE completed_at IS NULL;
CREATE INDEX operation_by_volume ON operations (volume_id, id);

-- The journal: a line before a step starts and one after it ended; likewise when it is undone. Only ever appended to.
CREATE TABLE operation_steps (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    seq          INTEGER NOT NULL,
    step         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('started', 'done', 'failed', 'undoing', 'undone')),
    detail       TEXT,
    at           TEXT NOT NULL,
    PRIMARY KEY (operation_id, seq)
) STRICT, WITHOUT ROWID;

-- Calls to the cloud, recorded before they are sent: until `expires_at` one without an outcome may still land.
CREATE TABLE cloud_calls (
    id           TEXT PRIMARY KEY,             -- the job id that we chose
    operation_id TEXT NOT NULL REFERENCES operations (id),
    step         TEXT NOT NULL,
    sent_at      TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    outcome      TEXT,
    answered_at  TEXT
) STRICT;
CREATE INDEX cloud_call_by_operation ON cloud_calls (operation_id, step);

-- Answers already given: the same key and body get the same resource again.
CREATE TABLE idempotency_keys (
    key          TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    resource     TEXT NOT NULL CHECK (resource IN ('operation', 'lease', 'finding')),
    resource_id  TEXT NOT NULL,
    created_at   TEXT NOT NULL
) STRICT;

CREATE TABLE snapshots (
    id           TEXT PRIMARY KEY,
    volume_id    TEXT NOT NULL REFERENCES volumes (id),
    name         TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting', 'deleted')),
    snapshot_ref TEXT,
    created_at   TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX snapshot_name_live ON snapshots (volume_id, name) WHERE state <> 'deleted';

-- Who uses a device. A volume has at most one writer.
CREATE TABLE leases (
    id           TEXT PRIMARY KEY,
    volume_id    TEXT NOT NULL REFERENCES volumes (id),
    generation   INTEGER NOT NULL,
    purpose      TEXT NOT NULL CHECK (purpose IN ('export', 'transfer', 'conversion', 'inspection')),
    access       TEXT NOT NULL CHECK (access IN ('read', 'write')),
    holder       TEXT NOT NULL,
    detail       TEXT,
    known_zero   INTEGER NOT NULL CHECK (known_zero IN (0, 1)),
    ttl_seconds  INTEGER NOT NULL CHECK (ttl_seconds > 0),
    acquired_at  TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    released_at  TEXT,
    released_why TEXT
) STRICT;
CREATE UNIQUE INDEX lease_live_writer ON leases (volume_id) WHERE released_at IS NULL AND access = 'write';
CREATE INDEX lease_live ON leases (volume_id) WHERE released_at IS NULL;

-- The findings that somebody wants passed over. An id follows from what a finding says and what it is about.
CREATE TABLE ignored_findings (
    id    TEXT PRIMARY KEY,
    kind  TEXT NOT NULL,
    about TEXT NOT NULL,                       -- for people: what it is about
    actor TEXT NOT NULL,
    why   TEXT NOT NULL,
    at    TEXT NOT NULL
) STRICT;

-- What changed, in order, in the same transaction as the change.
CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    volume_id    TEXT,
    operation_id TEXT,
    data         TEXT NOT NULL,
    at           TEXT NOT NULL
) STRICT;

-- Who did what and why, with before and after. Only ever appended to.
CREATE TABLE audit (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    at           TEXT NOT NULL,
    actor        TEXT NOT NULL,
    action       TEXT NOT NULL,
    volume_id    TEXT,
    operation_id TEXT,
    why          TEXT,
    before       TEXT,
    after        TEXT
) STRICT;

-- Who may ask over TCP. The secret is nowhere: `hash` is its SHA-256, which is enough for 256 random bits.
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,           -- stands in the secret, to find its row
    name         TEXT NOT NULL,
    scope        TEXT NOT NULL CHECK (scope IN ('read', 'operate', 'admin')),
    hash         BLOB NOT NULL CHECK (length(hash) = 32),
    former_hash  BLOB CHECK (length(former_hash) = 32), -- that of the secret before the last rotation …
    former_until TEXT,                                  -- … and how long it still works
    created_at   TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    rotated_at   TEXT,
    expires_at   TEXT,
    last_used_at TEXT,                       -- to ten minutes
    revoked_at   TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tokens_live_name ON tokens (name) WHERE revoked_at IS NULL;
