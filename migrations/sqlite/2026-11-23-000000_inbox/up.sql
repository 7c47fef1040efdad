-- What was accepted. Written once; only `payload` is removed when its retention is over.
-- `sequence` is the first 60 bits of the id without its version: milliseconds and a counter.
CREATE TABLE webhooks (
    sequence        INTEGER PRIMARY KEY,
    id              BLOB NOT NULL,    -- UUIDv7, 16 bytes
    source          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    event_type      TEXT NOT NULL,
    payload         TEXT,             -- as it came
    payload_digest  BLOB NOT NULL,    -- of the JSON value, 16 bytes
    traceparent     TEXT NOT NULL,
    accepted_at     INTEGER NOT NULL  -- milliseconds since the epoch, as every time here
) STRICT;

-- One webhook per source and key. Keys come in no order and each dirties a page of its own, so
-- they are kept apart from the wide rows, and the usual ones at half their length.
CREATE TABLE idempotency_keys (
    name    BLOB PRIMARY KEY,         -- source, 0, key: as text, or packed where it is hexadecimal
    webhook INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What becomes of it: the small row that changes.
CREATE TABLE jobs (
    webhook         INTEGER PRIMARY KEY REFERENCES webhooks (sequence),
    status          INTEGER NOT NULL, -- 0 pending, 1 processing, 2 retrying, 3 completed, 4 dead_lettered, 5 cancelled
    attempts        INTEGER NOT NULL, -- started so far
    attempts_before INTEGER NOT NULL, -- of them before the last retry by hand
    max_attempts    INTEGER NOT NULL,
    available_at    INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    completed_at    INTEGER,          -- when it reached a final status
    revision        INTEGER NOT NULL, -- grows with every change
    lease_token     INTEGER NOT NULL, -- counts the claims
    lease_until     INTEGER,
    worker          TEXT,             -- who holds the lease
    purged          INTEGER NOT NULL DEFAULT 0 -- 1 once the payload is gone
) STRICT;

-- SQLite proves a partial index only from literals: queries repeat these conditions word by word.
CREATE INDEX jobs_due ON jobs (available_at, status) WHERE status IN (0, 2);
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 1;
CREATE INDEX jobs_finished ON jobs (purged, status, completed_at) WHERE completed_at IS NOT NULL;

-- The history: one row for each attempt that has ended.
CREATE TABLE attempts (
    webhook     INTEGER NOT NULL REFERENCES webhooks (sequence),
    number      INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,     -- 0 completed, 1 failed, 2 interrupted
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    error       TEXT,
    result      TEXT,                 -- what the handler returned, JSON
    worker      TEXT NOT NULL,
    PRIMARY KEY (webhook, number)
) STRICT, WITHOUT ROWID;

-- Webhooks by status, kept in the transaction that changes them.
CREATE TABLE status_counts (
    status INTEGER PRIMARY KEY,
    count  INTEGER NOT NULL
) STRICT;
INSERT INTO status_counts (status, count) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0);

-- One row, rewritten to learn whether the store can write.
CREATE TABLE probe (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, written_at) VALUES (1, 0);
