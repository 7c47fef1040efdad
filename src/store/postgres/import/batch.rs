//! Inserts a batch of moved webhooks: unfinished jobs go into `jobs`, finished jobs into `finished_jobs`
//! together with the attempt that ended them, and all other attempts into `attempts`.

use std::collections::BTreeMap;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::domain::job::{QueueId, Status};
use crate::domain::route::OrderValue;
use crate::store::fitting::fitting;
use crate::store::postgres::counts::CountChanges;
use crate::store::postgres::lanes;
use crate::store::postgres::rows::{self, pg_time, storable};
use crate::store::statement::statement;
use crate::store::transfer::stored::{StoredAttempt, StoredJob, StoredLane, StoredWebhook};

/// The slot of `status_counts`. Any slot will do, because no other process writes during a transfer.
const SLOT: i16 = 0;

/// Maximum number of bytes of attempts in one statement, or one attempt. A webhook moves with its whole history, which
/// can be larger than a batch.
const ATTEMPTS_BYTES: usize = 8 * 1024 * 1024;

/// A job of the batch and its webhook.
struct Moving<'a> {
    webhook: &'a StoredWebhook,
    job: &'a StoredJob,
}

/// Inserts webhooks with their jobs and attempts, and adds the jobs to the counts.
pub(super) async fn insert(
    connection: &mut AsyncPgConnection,
    webhooks: &[StoredWebhook],
) -> QueryResult<()> {
    let moving =
        webhooks.iter().flat_map(|webhook| webhook.jobs.iter().map(move |job| Moving { webhook, job }));
    let (finished, unfinished) = moving.partition::<Vec<_>, _>(|moving| moving.job.status.is_final());
    insert_webhooks(connection, webhooks).await?;
    if !unfinished.is_empty() {
        insert_jobs(connection, &unfinished).await?;
    }
    if !finished.is_empty() {
        insert_finished(connection, &finished).await?;
    }
    let all = finished.iter().chain(&unfinished).collect::<Vec<_>>();
    insert_attempts(connection, &all).await?;
    insert_lanes(connection, &all).await?;
    let mut counts = CountChanges::default();
    all.iter().for_each(|moving| counts.moved(moving.job.queue, None, Some(moving.job.status)));
    counts.apply(connection, SLOT).await
}

async fn insert_webhooks(connection: &mut AsyncPgConnection, all: &[StoredWebhook]) -> QueryResult<()> {
    InsertWebhooks {
        ids: all.iter().map(|webhook| rows::uuid(webhook.id)).collect(),
        sources: all.iter().map(|webhook| webhook.source.as_str()).collect(),
        keys: all.iter().map(|webhook| webhook.idempotency_key.as_str()).collect(),
        event_types: all.iter().map(|webhook| webhook.event_type.as_str()).collect(),
        content_types: all.iter().map(|webhook| webhook.content_type.as_str()).collect(),
        verdicts: all.iter().map(|webhook| webhook.verdict.number()).collect(),
        headers: all.iter().map(|webhook| webhook.headers.as_deref()).collect(),
        payloads: all.iter().map(|webhook| webhook.payload.as_deref()).collect(),
        digests: all.iter().map(|webhook| webhook.payload_digest.as_slice()).collect(),
        traceparents: all.iter().map(|webhook| webhook.traceparent.as_str()).collect(),
        accepted_at: all.iter().map(|webhook| pg_time(webhook.accepted_at)).collect(),
        quarantined: all.iter().map(|webhook| webhook.quarantined).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

impl Moving<'_> {
    fn lane(&self) -> Option<String> {
        self.job.order.as_ref().map(|order| lanes::key(self.job.queue, &OrderValue::new(order.as_str())))
    }

    /// The position of an ordered job, and of those that a quarantined webhook gets by its release: the sequence of its
    /// webhook, which is the order of acceptance in the file.
    fn position(&self) -> Option<i64> {
        let has_position = self.job.order.is_some() || self.job.status == Status::Quarantined;
        has_position.then_some(self.webhook.sequence)
    }
}

async fn insert_jobs(connection: &mut AsyncPgConnection, all: &[Moving<'_>]) -> QueryResult<()> {
    let jobs = || all.iter().map(|moving| moving.job);
    InsertJobs {
        webhooks: all.iter().map(|moving| rows::uuid(moving.webhook.id)).collect(),
        queues: all.iter().map(|moving| rows::queue_number(moving.job.queue)).collect(),
        statuses: jobs().map(|job| job.status as i16).collect(),
        runs: jobs().map(|job| number(job.run)).collect(),
        attempts: jobs().map(|job| number(job.attempts)).collect(),
        uncounted_attempts: jobs().map(|job| number(job.uncounted_attempts)).collect(),
        available_at: jobs().map(|job| pg_time(job.available_at)).collect(),
        updated_at: jobs().map(|job| pg_time(job.updated_at)).collect(),
        revisions: jobs().map(|job| job.revision).collect(),
        lease_tokens: jobs().map(|job| job.lease_token).collect(),
        lanes: all.iter().map(Moving::lane).collect(),
        positions: all.iter().map(Moving::position).collect(),
        workers: jobs().map(|job| text(job.worker.as_deref())).collect(),
        replays: jobs().map(|job| job.replay).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_finished(connection: &mut AsyncPgConnection, all: &[Moving<'_>]) -> QueryResult<()> {
    let jobs = || all.iter().map(|moving| moving.job);
    let endings = || jobs().map(|job| job.split_history().1);
    InsertFinished {
        webhooks: all.iter().map(|moving| rows::uuid(moving.webhook.id)).collect(),
        queues: all.iter().map(|moving| rows::queue_number(moving.job.queue)).collect(),
        statuses: jobs().map(|job| job.status as i16).collect(),
        runs: jobs().map(|job| number(job.run)).collect(),
        attempts: jobs().map(|job| number(job.attempts)).collect(),
        uncounted_attempts: jobs().map(|job| number(job.uncounted_attempts)).collect(),
        available_at: jobs().map(|job| pg_time(job.available_at)).collect(),
        completed_at: jobs().map(|job| pg_time(job.completed_at.unwrap_or(job.updated_at))).collect(),
        revisions: jobs().map(|job| job.revision).collect(),
        lease_tokens: jobs().map(|job| job.lease_token).collect(),
        purged: jobs().map(|job| job.purged as i16).collect(),
        lanes: all.iter().map(Moving::lane).collect(),
        positions: all.iter().map(Moving::position).collect(),
        blocks: jobs().map(|job| job.blocks).collect(),
        outcomes: endings().map(|ending| ending.map(|ending| ending.outcome as i16)).collect(),
        started_at: endings().map(|ending| ending.map(|ending| pg_time(ending.started_at))).collect(),
        errors: endings().map(|ending| text(ending?.error.as_deref())).collect(),
        results: endings().map(|ending| text(ending?.result.as_deref())).collect(),
        workers: endings().map(|ending| text(Some(&ending?.worker))).collect(),
        deliveries: endings().map(|ending| ending?.delivery.as_deref()).collect(),
        replays: jobs().map(|job| job.replay).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_attempts(connection: &mut AsyncPgConnection, all: &[&Moving<'_>]) -> QueryResult<()> {
    let told = all
        .iter()
        .flat_map(|moving| moving.job.split_history().0.iter().map(move |attempt| (*moving, attempt)));
    let attempts = told.collect::<Vec<(&Moving<'_>, &StoredAttempt)>>();
    let mut left = attempts.as_slice();
    while !left.is_empty() {
        let count = fitting(left.iter().map(|(_, attempt)| attempt.bytes()), ATTEMPTS_BYTES);
        let (some, later) = left.split_at(count);
        insert_some_attempts(connection, some).await?;
        left = later;
    }
    Ok(())
}

async fn insert_some_attempts(
    connection: &mut AsyncPgConnection,
    attempts: &[(&Moving<'_>, &StoredAttempt)],
) -> QueryResult<()> {
    let each = || attempts.iter().map(|(_, attempt)| *attempt);
    InsertAttempts {
        webhooks: attempts.iter().map(|(moving, _)| rows::uuid(moving.webhook.id)).collect(),
        queues: attempts.iter().map(|(moving, _)| rows::queue_number(moving.job.queue)).collect(),
        numbers: each().map(|attempt| number(attempt.number)).collect(),
        runs: each().map(|attempt| number(attempt.run)).collect(),
        outcomes: each().map(|attempt| attempt.outcome as i16).collect(),
        started_at: each().map(|attempt| pg_time(attempt.started_at)).collect(),
        finished_at: each().map(|attempt| pg_time(attempt.finished_at)).collect(),
        errors: each().map(|attempt| text(attempt.error.as_deref())).collect(),
        workers: each().map(|attempt| storable(&attempt.worker)).collect(),
        deliveries: each().map(|attempt| attempt.delivery.as_deref()).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

/// A lane of the batch: where it stands, and how many jobs of the batch are in it.
struct Lane {
    queue: QueueId,
    stored: StoredLane,
    jobs: i64,
}

async fn insert_lanes(connection: &mut AsyncPgConnection, all: &[&Moving<'_>]) -> QueryResult<()> {
    let mut lanes = BTreeMap::new();
    for moving in all {
        if let (Some(key), Some(stored)) = (moving.lane(), moving.job.lane) {
            let new = Lane { queue: moving.job.queue, stored, jobs: 0 };
            lanes.entry(key).or_insert(new).jobs += 1;
        }
    }
    if lanes.is_empty() {
        return Ok(());
    }
    InsertLanes {
        queues: lanes.values().map(|lane| rows::queue_number(lane.queue)).collect(),
        jobs: lanes.values().map(|lane| lane.jobs).collect(),
        states: lanes.values().map(|lane| lane.stored.state as i16).collect(),
        available_at: lanes.values().map(|lane| pg_time(lane.stored.available_at)).collect(),
        lanes: lanes.into_keys().collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn text(text: Option<&str>) -> Option<String> {
    text.map(storable)
}

statement! { Pg;
    struct InsertWebhooks<'a> {
        ids: Vec<Uuid> as Array<SqlUuid>,
        sources: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
        event_types: Vec<&'a str> as Array<Text>,
        content_types: Vec<&'a str> as Array<Text>,
        verdicts: Vec<i16> as Array<SmallInt>,
        headers: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        payloads: Vec<Option<&'a [u8]>> as Array<Nullable<Binary>>,
        digests: Vec<&'a [u8]> as Array<Binary>,
        traceparents: Vec<&'a str> as Array<Text>,
        accepted_at: Vec<PgTimestamp> as Array<Timestamptz>,
        quarantined: Vec<bool> as Array<Bool>,
    }
    returns ();
    "INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, headers, payload,
                           payload_digest, traceparent, accepted_at, quarantined)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

// Leases have expired: the process that held them is gone. Leases of pull workers end as well, for the file does not say
// which these are.
statement! { Pg;
    struct InsertJobs {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        runs: Vec<i32> as Array<Integer>,
        attempts: Vec<i32> as Array<Integer>,
        uncounted_attempts: Vec<i32> as Array<Integer>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        updated_at: Vec<PgTimestamp> as Array<Timestamptz>,
        revisions: Vec<i64> as Array<BigInt>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        lanes: Vec<Option<String>> as Array<Nullable<Text>>,
        positions: Vec<Option<i64>> as Array<Nullable<BigInt>>,
        workers: Vec<Option<String>> as Array<Nullable<Text>>,
        replays: Vec<Option<i64>> as Array<Nullable<BigInt>>,
    }
    returns ();
    "INSERT INTO jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at, revision,
                       lease_token, lane, position, worker, replay, lease_until)
     SELECT *, CASE status WHEN 1 THEN now() END
     FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          AS j (webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at, revision,
                lease_token, lane, position, worker, replay)"
}

statement! { Pg;
    struct InsertFinished<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        runs: Vec<i32> as Array<Integer>,
        attempts: Vec<i32> as Array<Integer>,
        uncounted_attempts: Vec<i32> as Array<Integer>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        completed_at: Vec<PgTimestamp> as Array<Timestamptz>,
        revisions: Vec<i64> as Array<BigInt>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        purged: Vec<i16> as Array<SmallInt>,
        lanes: Vec<Option<String>> as Array<Nullable<Text>>,
        positions: Vec<Option<i64>> as Array<Nullable<BigInt>>,
        blocks: Vec<bool> as Array<Bool>,
        outcomes: Vec<Option<i16>> as Array<Nullable<SmallInt>>,
        started_at: Vec<Option<PgTimestamp>> as Array<Nullable<Timestamptz>>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        workers: Vec<Option<String>> as Array<Nullable<Text>>,
        deliveries: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        replays: Vec<Option<i64>> as Array<Nullable<BigInt>>,
    }
    returns ();
    "INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, completed_at,
                                revision, lease_token, purged, lane, position, blocks, outcome, started_at, error, result, worker,
                                delivery, replay)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Pg;
    struct InsertAttempts<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        numbers: Vec<i32> as Array<Integer>,
        runs: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        workers: Vec<String> as Array<Text>,
        deliveries: Vec<Option<&'a str>> as Array<Nullable<Text>>,
    }
    returns ();
    "INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, worker, delivery)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

// The jobs of a lane can be in several batches.
statement! { Pg;
    struct InsertLanes {
        lanes: Vec<String> as Array<Text>,
        queues: Vec<i32> as Array<Integer>,
        jobs: Vec<i64> as Array<BigInt>,
        states: Vec<i16> as Array<SmallInt>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
    }
    returns ();
    "INSERT INTO lanes AS l (lane, queue, jobs, state, available_at) SELECT * FROM unnest(?, ?, ?, ?, ?)
     ON CONFLICT (lane) DO UPDATE SET jobs = l.jobs + excluded.jobs"
}
