-- From version 2 to 3: operations of kind `adopt`, idempotency keys of findings, findings that are passed over.
-- SQLite changes no CHECK of a table that there is, so the tables are made anew and take the old one's place.
CREATE TABLE operations_3 (
    id               TEXT PRIMARY KEY,
    kind             TEXT NOT NULL CHECK (kind IN ('create', 'attach', 'detach', 'delete', 'resize', 'correlate',
                                                   'snapshot_create', 'snapshot_revert', 'snapshot_delete',
                                                   'adopt')),
    status           TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    volume_id        TEXT NOT NULL REFERENCES volumes (id),
    vm_id            TEXT,
    request          TEXT NOT NULL,
    response         TEXT,
    failure_code     TEXT,
    failure_message  TEXT,
    failure_hint     TEXT,
    waiting_for      TEXT,
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
INSERT INTO operations_3
    SELECT id, kind, status, volume_id, vm_id, request, response, failure_code, failure_message, failure_hint, waiting_for,
           cancel_requested, actor, request_id, created_at, updated_at, completed_at
    FROM operations;
DROP TABLE operations;
ALTER TABLE operations_3 RENAME TO operations;
CREATE UNIQUE INDEX operation_open_volume ON operations (volume_id) WHERE completed_at IS NULL;
CREATE INDEX operation_by_volume ON operations (volume_id, id);

CREATE TABLE idempotency_keys_3 (
    key          TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    resource     TEXT NOT NULL CHECK (resource IN ('operation', 'lease', 'finding')),
    resource_id  TEXT NOT NULL,
    created_at   TEXT NOT NULL
) STRICT;
INSERT INTO idempotency_keys_3
    SELECT key, request_hash, resource, resource_id, created_at FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_3 RENAME TO idempotency_keys;

CREATE TABLE ignored_findings (
    id    TEXT PRIMARY KEY,
    kind  TEXT NOT NULL,
    about TEXT NOT NULL,
    actor TEXT NOT NULL,
    why   TEXT NOT NULL,
    at    TEXT NOT NULL
) STRICT;
