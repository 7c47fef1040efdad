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
    accepted_at     INTEGER NOT NULL  -- milliseconds since the epoch, as every time here but `next_at`
) STRICT;

-- One webhook per source and key. Keys come in no order and each dirties a page of its own, so
-- they are kept apart from the wide rows, and the usual ones at half their length.
CREATE TABLE idempotency_keys (
    name    BLOB PRIMARY KEY,         -- source, 0, key: as text, or packed where it is hexadecimal
    webhook INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A queue holds the jobs of one route from one source. Queue 0 stands for "no route". Rows are
-- never removed, so that no number is given twice.
CREATE TABLE queues (
    id     INTEGER PRIMARY KEY,
    route  TEXT NOT NULL,
    source TEXT NOT NULL,
    UNIQUE (route, source)
) STRICT;
INSERT INTO queues (id, route, source) VALUES (0, '', '');

-- The processing of a webhook by a route: the small row that changes. A webhook that no route
-- wanted has one row in queue 0 with status 6, for the sake of counts and retention.
CREATE TABLE jobs (
    webhook            INTEGER NOT NULL REFERENCES webhooks (sequence),
    queue              INTEGER NOT NULL,
    status             INTEGER NOT NULL, -- 0 pending, 1 processing, 2 retrying, 3 completed, 4 dead_lettered, 5 cancelled, 6 filtered
    attempts           INTEGER NOT NULL, -- started so far
    uncounted_attempts INTEGER NOT NULL, -- of them, those of earlier runs, and those stopped or given back
    run                INTEGER NOT NULL, -- 1, and one more with every retry by hand
    available_at       INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    completed_at       INTEGER,          -- when it reached a final status
    revision           INTEGER NOT NULL, -- grows by one with every change
    lease_token        INTEGER NOT NULL, -- counts the claims
    lease_until        INTEGER,
    worker             TEXT,             -- the process that holds the lease
    lane               TEXT,             -- the order value; jobs of one lane run in the order of `webhook`
    blocks             INTEGER NOT NULL DEFAULT 0, -- 1: a dead letter that keeps its lane from going on
    purged             INTEGER NOT NULL DEFAULT 0, -- 1: past the retention of its payload; 2: past that of its key
    PRIMARY KEY (webhook, queue)
) STRICT, WITHOUT ROWID;

-- SQLite proves a partial index only from literals: queries repeat these conditions word by word.
CREATE INDEX jobs_due ON jobs (queue, available_at, status) WHERE status IN (0, 2) AND lane IS NULL;
CREATE INDEX jobs_in_lane ON jobs (queue, lane, webhook) WHERE status IN (0, 2) AND lane IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 1;
CREATE INDEX jobs_finished ON jobs (purged, status, completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_blocking ON jobs (queue, lane) WHERE blocks = 1;

-- The order values that have an unfinished job, or a dead letter that blocks them. Jobs of a lane
-- are not in `jobs_due`: claims find the lane here, and take its first waiting job.
CREATE TABLE lanes (
    queue        INTEGER NOT NULL,
    lane         TEXT NOT NULL,
    state        INTEGER NOT NULL,    -- 0 its first job may start, 1 it is processing, 2 blocked by a dead letter
    available_at INTEGER NOT NULL,    -- in state 0: when its first job may start
    PRIMARY KEY (queue, lane)
) STRICT, WITHOUT ROWID;

CREATE INDEX lanes_due ON lanes (queue, available_at) WHERE state = 0;
CREATE INDEX lanes_blocked ON lanes (queue) WHERE state = 2;

-- The history: one row for each attempt that has ended.
CREATE TABLE attempts (
    webhook     INTEGER NOT NULL REFERENCES webhooks (sequence),
    queue       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,     -- 0 completed, 1 failed, 2 interrupted
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    error       TEXT,
    result      TEXT,                 -- what the handler returned, JSON
    worker      TEXT NOT NULL,
    PRIMARY KEY (webhook, queue, number)
) STRICT, WITHOUT ROWID;

-- What operators keep from starting.
CREATE TABLE pauses (
    scope INTEGER NOT NULL,           -- 0 everything, 1 a route, 2 a source
    name  TEXT NOT NULL,              -- of the route or the source; empty for everything
    since INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- When the next start of a route with a rate is due.
CREATE TABLE paces (
    route   TEXT PRIMARY KEY,
    next_at INTEGER NOT NULL          -- microseconds since the epoch
) STRICT, WITHOUT ROWID;

-- Jobs by queue and status, kept in the transaction that changes them.
CREATE TABLE status_counts (
    queue  INTEGER NOT NULL,
    status INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;

-- One row, rewritten to learn whether the store can write.
CREATE TABLE probe (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, written_at) VALUES (1, 0);
