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
