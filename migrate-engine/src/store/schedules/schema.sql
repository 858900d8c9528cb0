-- The schedules: since version 3 of the engine's database.

-- The schedules that there are. What was due until `settled_until` was begun, skipped or said to be missed; at first that
-- is when the schedule became known. To the second, in UTC: these texts sort as the instants do.
CREATE TABLE schedules (
    name          TEXT PRIMARY KEY,
    settled_until TEXT NOT NULL
) STRICT;

-- What became of runs, also of schedules that are gone. The oldest are removed (store/schedules/mod.rs).
CREATE TABLE schedule_runs (
    id          INTEGER PRIMARY KEY,
    schedule    TEXT NOT NULL,
    -- When it had to begin; of missed runs the last.
    at          TEXT NOT NULL,
    begun_by    TEXT NOT NULL CHECK (begun_by IN ('calendar', 'person')),
    outcome     TEXT NOT NULL CHECK (outcome IN ('begun', 'skipped_in_blackout', 'skipped_while_starting', 'missed')),
    -- The whole of it, in JSON.
    detail      TEXT NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX schedule_run_by_schedule ON schedule_runs (schedule, at);
CREATE INDEX schedule_run_by_time ON schedule_runs (at);
