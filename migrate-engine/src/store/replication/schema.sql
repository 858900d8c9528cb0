-- The replications of machines: since version 2 of the engine's database. No password is in here.

-- A machine by its name and its vCenter: what is known of it, and how its replications went.
CREATE TABLE vm_replication_contexts (
    id                     INTEGER PRIMARY KEY,
    vm_name                TEXT NOT NULL,
    vcenter_host           TEXT NOT NULL,
    vm_id                  TEXT NOT NULL,
    vm_path                TEXT NOT NULL,
    -- As it was discovered last, in JSON.
    specification          TEXT NOT NULL,
    current_status         TEXT NOT NULL CHECK (current_status IN ('discovered', 'replicating', 'replicated', 'failed', 'cutover_ready')),
    total_jobs             INTEGER NOT NULL DEFAULT 0,
    successful_jobs        INTEGER NOT NULL DEFAULT 0,
    failed_jobs            INTEGER NOT NULL DEFAULT 0,
    cancelled_jobs         INTEGER NOT NULL DEFAULT 0,
    last_job_id            TEXT,
    last_successful_job_id TEXT,
    created_at             TEXT NOT NULL,
    updated_at             TEXT NOT NULL,
    UNIQUE (vm_name, vcenter_host)
) STRICT;

CREATE TABLE replication_jobs (
    -- job-YYYYMMDD-HHMMSS, in UTC.
    id                TEXT PRIMARY KEY,
    vm_context_id     INTEGER NOT NULL REFERENCES vm_replication_contexts (id),
    -- What was asked for, in JSON.
    request           TEXT NOT NULL,
    replication_type  TEXT NOT NULL CHECK (replication_type IN ('initial', 'incremental')),
    status            TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    phase             TEXT NOT NULL,
    -- Somebody wants it stopped: it is, as soon as everything was given back.
    cancel_requested  INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    -- How often it was begun; by whom, so that only one process works on it.
    attempts          INTEGER NOT NULL DEFAULT 0,
    error             TEXT,
    error_code        TEXT,
    hint              TEXT,
    -- Sentences that a person should know, a JSON array.
    notes             TEXT NOT NULL DEFAULT '[]',
    created_at        TEXT NOT NULL,
    started_at        TEXT,
    updated_at        TEXT NOT NULL,
    completed_at      TEXT
) STRICT;
CREATE INDEX replication_job_by_context ON replication_jobs (vm_context_id, id);
-- One machine has one replication at a time.
CREATE UNIQUE INDEX replication_job_live ON replication_jobs (vm_context_id) WHERE status IN ('pending', 'running');

-- The seven steps of a job, each time that they were taken.
CREATE TABLE replication_steps (
    job_id      TEXT NOT NULL REFERENCES replication_jobs (id),
    attempt     INTEGER NOT NULL,
    step        INTEGER NOT NULL CHECK (step BETWEEN 1 AND 7),
    name        TEXT NOT NULL,
    began_at    TEXT NOT NULL,
    ended_at    TEXT,
    outcome     TEXT CHECK (outcome IN ('done', 'failed', 'cancelled')),
    detail      TEXT,
    PRIMARY KEY (job_id, attempt, step)
) STRICT;

-- The disks of a machine, the volume of each, and what that volume is equal to.
CREATE TABLE vm_disks (
    id              INTEGER PRIMARY KEY,
    vm_context_id   INTEGER NOT NULL REFERENCES vm_replication_contexts (id),
    disk_id         TEXT NOT NULL,
    label           TEXT NOT NULL,
    path            TEXT,
    volume_id       TEXT,
    -- equal: the volume holds the disk as it was at the mark. updating: so it does but for places that the source will
    -- tell as changed since the mark. unknown: nothing can be built on it.
    content         TEXT NOT NULL CHECK (content IN ('equal', 'updating', 'unknown')),
    change_id       TEXT,
    capacity_bytes  INTEGER NOT NULL,
    -- The digests of what the volume was equal to at the mark.
    digest          TEXT,
    digest_blocks   BLOB,
    last_job_id     TEXT,
    updated_at      TEXT NOT NULL,
    UNIQUE (vm_context_id, disk_id)
) STRICT;
-- One volume is never two disks'.
CREATE UNIQUE INDEX vm_disk_volume ON vm_disks (volume_id) WHERE volume_id IS NOT NULL;

-- What a job did with each disk.
CREATE TABLE replication_disks (
    job_id         TEXT NOT NULL REFERENCES replication_jobs (id),
    disk_id        TEXT NOT NULL,
    volume_id      TEXT NOT NULL,
    -- everything, changed (by the source's own record) or compared (by digests).
    mode           TEXT CHECK (mode IN ('everything', 'changed', 'compared')),
    reason         TEXT,
    device_path    TEXT,
    export_name    TEXT,
    change_id      TEXT,
    data_bytes     INTEGER,
    bytes_written  INTEGER,
    bytes_verified INTEGER,
    digest         TEXT,
    PRIMARY KEY (job_id, disk_id)
) STRICT;

-- Which exports are, or were, of which machine.
CREATE VIEW vm_export_mappings AS
    SELECT d.vm_context_id, d.disk_id, e.volume_id, e.export_name, e.device_path, e.uri, e.published_at, e.withdrawn_at
    FROM vm_disks d JOIN nbd_exports e ON e.volume_id = d.volume_id;

-- Requests that carried a key, so that a repetition is not done twice.
CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY,
    request     TEXT NOT NULL,
    job_id      TEXT NOT NULL REFERENCES replication_jobs (id),
    created_at  TEXT NOT NULL
) STRICT;
