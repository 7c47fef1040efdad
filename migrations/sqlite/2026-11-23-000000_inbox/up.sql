-- The accepted webhooks. A row is written once; only `payload` and `headers` are set to null at the end of the retention
-- of the payload, and `quarantined` to 0 if an operator releases the webhook.
-- `sequence` is the first 60 bits of the id, without the version: a time in milliseconds and a counter.
CREATE TABLE webhooks (
    sequence        INTEGER PRIMARY KEY,
    id              BLOB NOT NULL,    -- UUIDv7, 16 bytes
    source          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    event_type      TEXT NOT NULL,
    content_type    TEXT NOT NULL,    -- of the payload
    verdict         INTEGER NOT NULL, -- 0 none, 1 verified; from 2 on unverified, by the cause: see domain/verdict.rs
    quarantined     INTEGER NOT NULL DEFAULT 0, -- 1: it was not verified and waits for an operator
    payload_digest  BLOB NOT NULL,    -- digest of the JSON value or of the bytes, 16 bytes
    traceparent     TEXT NOT NULL,
    accepted_at     INTEGER NOT NULL, -- milliseconds since the epoch, like every time in this file except `next_at`
    -- Last, because what comes after a large value in a row takes a walk over all of its pages to read.
    headers         TEXT,             -- of the request, a JSON array of pairs; null if none are kept
    payload         BLOB              -- as received
) STRICT;

-- Counts the quarantined webhooks of each source, and finds those with a key.
CREATE INDEX webhooks_quarantined ON webhooks (source, idempotency_key) WHERE quarantined = 1;

-- Keeps keys unique: one webhook per source and key. A quarantined webhook has no row here. Keys arrive in random order, so each insert changes a
-- different page. A narrow table of its own keeps these pages few; common forms of keys are packed to half
-- their length.
CREATE TABLE idempotency_keys (
    name    BLOB PRIMARY KEY,         -- source, a zero byte, and the key in the form that `keys.rs` describes
    webhook INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A queue holds the jobs of one route from one source. Queue 0 stands for "no route". Rows are never removed,
-- so that no number is reused.
CREATE TABLE queues (
    id     INTEGER PRIMARY KEY,
    route  TEXT NOT NULL,
    source TEXT NOT NULL,
    UNIQUE (route, source)
) STRICT;
INSERT INTO queues (id, route, source) VALUES (0, '', '');

-- The jobs: the processing of a webhook by a route. Only these narrow rows change. A webhook that no route
-- matched has one row, of queue 0 and status 6, so that it is counted and purged like a job; a quarantined webhook
-- has one of queue 0 and status 7.
CREATE TABLE jobs (
    webhook            INTEGER NOT NULL REFERENCES webhooks (sequence),
    queue              INTEGER NOT NULL,
    status             INTEGER NOT NULL, -- 0 pending, 1 processing, 2 retrying, 3 completed, 4 dead_lettered, 5 cancelled, 6 filtered, 7 quarantined
    attempts           INTEGER NOT NULL, -- started so far
    uncounted_attempts INTEGER NOT NULL, -- of `attempts`, those of earlier runs, and those stopped
    run                INTEGER NOT NULL, -- 1; increased by every retry by hand and every replay
    available_at       INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    completed_at       INTEGER,          -- when the job reached a final status; null if unfinished
    revision           INTEGER NOT NULL, -- increased by one with every change
    lease_token        INTEGER NOT NULL, -- increased by every claim
    lease_until        INTEGER,          -- null if not leased
    worker             TEXT,             -- who holds the lease; null if not leased
    lane               TEXT,             -- the order value or null; a lane runs in the order of `webhook`
    blocks             INTEGER NOT NULL DEFAULT 0, -- 1: a dead letter that blocks its lane
    purged             INTEGER NOT NULL DEFAULT 0, -- 1: past the retention of its payload; 2: past that of its key
    replay             INTEGER,          -- the number of the replay that began the run; null if none did
    PRIMARY KEY (webhook, queue)
) STRICT, WITHOUT ROWID;

-- SQLite uses a partial index only if a query implies its condition by literals. So queries repeat these
-- conditions word by word.
CREATE INDEX jobs_due ON jobs (queue, available_at, status) WHERE status IN (0, 2) AND lane IS NULL;
CREATE INDEX jobs_in_lane ON jobs (queue, lane, webhook) WHERE status IN (0, 2) AND lane IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 1;
CREATE INDEX jobs_finished ON jobs (purged, status, completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_blocking ON jobs (queue, lane) WHERE blocks = 1;
-- For lists. Few jobs reach these statuses, and most jobs are completed.
CREATE INDEX jobs_by_status ON jobs (status, webhook) WHERE status IN (2, 4, 5, 6, 7);

-- The lanes: jobs of one queue with the same order value. A lane has a row while it has an unfinished job or a
-- dead letter that blocks it. Ordered jobs are not in `jobs_due`: a claim finds a free lane by `lanes_due`, and
-- takes its first waiting job.
CREATE TABLE lanes (
    queue        INTEGER NOT NULL,
    lane         TEXT NOT NULL,
    state        INTEGER NOT NULL,    -- 0 its first job may start, 1 it is processing, 2 blocked by a dead letter
    available_at INTEGER NOT NULL,    -- in state 0: when its first job may start
    PRIMARY KEY (queue, lane)
) STRICT, WITHOUT ROWID;

CREATE INDEX lanes_due ON lanes (queue, available_at) WHERE state = 0;
CREATE INDEX lanes_blocked ON lanes (queue) WHERE state = 2;

-- The history: one row for each ended attempt.
CREATE TABLE attempts (
    webhook     INTEGER NOT NULL REFERENCES webhooks (sequence),
    queue       INTEGER NOT NULL,
    number      INTEGER NOT NULL,     -- over all runs
    run         INTEGER NOT NULL,     -- the run of the job that the attempt belongs to
    outcome     INTEGER NOT NULL,     -- 0 completed, 1 failed, 2 interrupted
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    error       TEXT,
    result      TEXT,                 -- the handler's result, JSON
    worker      TEXT NOT NULL,
    delivery    TEXT,                 -- what the handler sent and was answered, JSON; null if it sent nothing
    PRIMARY KEY (webhook, queue, number)
) STRICT, WITHOUT ROWID;

-- The pauses in force. Paused jobs do not start until an operator resumes them.
CREATE TABLE pauses (
    scope  INTEGER NOT NULL,          -- 0 everything, 1 a route, 2 a source
    name   TEXT NOT NULL,             -- of the route or the source; empty for everything
    since  INTEGER NOT NULL,          -- pausing again does not change it, and replaces `actor` and `reason`
    actor  TEXT NOT NULL,             -- the name of the token
    reason TEXT,                      -- in the words of the operator
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- When the next start of a route with `rate` is due. A row for each route that has started a job at a rate.
CREATE TABLE paces (
    route   TEXT PRIMARY KEY,
    next_at INTEGER NOT NULL          -- microseconds since the epoch
) STRICT, WITHOUT ROWID;

-- The breakers of routes that have opened and were not closed since.
CREATE TABLE breakers (
    route      TEXT PRIMARY KEY,
    trips      INTEGER NOT NULL,      -- how many times in a row it has opened
    open_until INTEGER NOT NULL       -- open until then, half-open after that
) STRICT, WITHOUT ROWID;

-- The number of jobs by queue and status, changed in the transaction that changes the jobs.
CREATE TABLE status_counts (
    queue  INTEGER NOT NULL,
    status INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;

-- The replays, running or ended. A replay looks at the webhooks from `position` on and before `ends_at`, by their
-- sequence.
CREATE TABLE replays (
    number       INTEGER PRIMARY KEY, -- 1, 2, 3 and so on
    query        TEXT NOT NULL,       -- which webhooks: a JSON object with the members of a list's query
    reason       TEXT,
    actor        TEXT NOT NULL,       -- the name of the token that started it
    rate         TEXT,                -- jobs per time, such as 50/s; null: without a limit
    dry_run      INTEGER NOT NULL,    -- 1: the jobs are only counted
    state        INTEGER NOT NULL,    -- 0 running, 1 completed, 2 cancelled
    begins_at    INTEGER NOT NULL,    -- `position` at the start
    position     INTEGER NOT NULL,    -- changed in the transaction that restarts the jobs before it
    ends_at      INTEGER NOT NULL,
    next_at      INTEGER,             -- when the rate allows the next step
    webhooks     INTEGER NOT NULL,    -- that matched so far
    jobs         INTEGER NOT NULL,    -- that were restarted; of a dry run, that would have been
    unfinished   INTEGER NOT NULL,    -- jobs that were left because they are not finished
    payload_gone INTEGER NOT NULL,    -- jobs that were left because the payload is past its retention
    route_gone   INTEGER NOT NULL,    -- jobs that were left because their route is gone from the settings
    without_jobs INTEGER NOT NULL,    -- webhooks that are filtered or quarantined
    waits_for    TEXT,                -- the route whose due jobs it waits for, or '' for the backlog; null: for nothing
    started_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,    -- when it last moved on
    ended_at     INTEGER              -- null while it is running
) STRICT;

-- At most one replay is running.
CREATE UNIQUE INDEX replays_running ON replays (state) WHERE state = 0;

-- What operators did. Rows are added right after the change, never changed, and purged from the oldest on.
CREATE TABLE actions (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    done_at INTEGER NOT NULL,
    actor   TEXT NOT NULL,            -- the name of the token
    kind    TEXT NOT NULL,            -- what was done; see domain/action.rs
    webhook BLOB,                     -- on what: the id of a webhook, 16 bytes
    route   TEXT,
    source  TEXT,
    replay  INTEGER,
    reason  TEXT,                     -- in the words of the operator
    detail  TEXT                      -- what else there is to say about it, for people
) STRICT;

CREATE INDEX actions_on_webhook ON actions (webhook, number) WHERE webhook IS NOT NULL;

-- One row, updated by the probe to check that the store can write.
CREATE TABLE probe (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, written_at) VALUES (1, 0);

-- The time of day, and the jobs that are left to move since it was set back. One row.
CREATE TABLE time_of_day (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    seen_at     INTEGER NOT NULL,     -- when jobs were last changed, to a second, or when the process ended
    set_back_by INTEGER NOT NULL,     -- the step back that jobs follow now, or followed last, in milliseconds
    set_back_at INTEGER NOT NULL,     -- when it was noticed, by the new time
    left_before INTEGER NOT NULL,     -- waiting jobs of webhooks before this one still go by the old time; 0: none do
    next_step   INTEGER NOT NULL      -- the sum of the steps back since then, which jobs follow next, in milliseconds
) STRICT;
INSERT INTO time_of_day (id, seen_at, set_back_by, set_back_at, left_before, next_step) VALUES (1, 0, 0, 0, 0, 0);
