//! A batch of webhooks as the tables of PostgreSQL have them: what is unfinished in `jobs`, what is
//! finished in `finished_jobs` with the attempt that ended it, and all other attempts in `attempts`.

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::domain::job::Status;
use crate::store::postgres::finish::storable;
use crate::store::postgres::rows::{self, pg_time};
use crate::store::statement::statement;
use crate::store::transfer::stored::{StoredAttempt, StoredWebhook};

/// Inserts webhooks with all that belongs to them, and counts them.
pub(super) async fn insert(
    connection: &mut AsyncPgConnection,
    webhooks: &[StoredWebhook],
) -> QueryResult<()> {
    let (finished, unfinished) =
        webhooks.iter().partition::<Vec<_>, _>(|webhook| webhook.job.status.is_final());
    insert_webhooks(connection, webhooks).await?;
    if !unfinished.is_empty() {
        insert_jobs(connection, &unfinished).await?;
    }
    if !finished.is_empty() {
        insert_finished(connection, &finished).await?;
    }
    insert_attempts(connection, webhooks).await?;
    count(connection, webhooks).await
}

async fn insert_webhooks(connection: &mut AsyncPgConnection, all: &[StoredWebhook]) -> QueryResult<()> {
    InsertWebhooks {
        ids: all.iter().map(|webhook| rows::uuid(webhook.id)).collect(),
        sources: all.iter().map(|webhook| webhook.source.as_str()).collect(),
        keys: all.iter().map(|webhook| webhook.idempotency_key.as_str()).collect(),
        event_types: all.iter().map(|webhook| webhook.event_type.as_str()).collect(),
        payloads: all.iter().map(|webhook| webhook.payload.as_deref()).collect(),
        digests: all.iter().map(|webhook| webhook.payload_digest.as_slice()).collect(),
        traceparents: all.iter().map(|webhook| webhook.traceparent.as_str()).collect(),
        accepted_at: all.iter().map(|webhook| pg_time(webhook.accepted_at)).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_jobs(connection: &mut AsyncPgConnection, all: &[&StoredWebhook]) -> QueryResult<()> {
    let jobs = || all.iter().map(|webhook| &webhook.job);
    InsertJobs {
        webhooks: all.iter().map(|webhook| rows::uuid(webhook.id)).collect(),
        statuses: jobs().map(|job| job.status as i16).collect(),
        attempts: jobs().map(|job| number(job.attempts)).collect(),
        attempts_before: jobs().map(|job| number(job.attempts_before)).collect(),
        max_attempts: jobs().map(|job| number(job.max_attempts)).collect(),
        available_at: jobs().map(|job| pg_time(job.available_at)).collect(),
        updated_at: jobs().map(|job| pg_time(job.updated_at)).collect(),
        revisions: jobs().map(|job| job.revision).collect(),
        lease_tokens: jobs().map(|job| job.lease_token).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_finished(connection: &mut AsyncPgConnection, all: &[&StoredWebhook]) -> QueryResult<()> {
    let jobs = || all.iter().map(|webhook| &webhook.job);
    let endings = || all.iter().map(|webhook| webhook.history().1);
    InsertFinished {
        webhooks: all.iter().map(|webhook| rows::uuid(webhook.id)).collect(),
        statuses: jobs().map(|job| job.status as i16).collect(),
        attempts: jobs().map(|job| number(job.attempts)).collect(),
        max_attempts: jobs().map(|job| number(job.max_attempts)).collect(),
        available_at: jobs().map(|job| pg_time(job.available_at)).collect(),
        completed_at: jobs().map(|job| pg_time(job.completed_at.unwrap_or(job.updated_at))).collect(),
        revisions: jobs().map(|job| job.revision).collect(),
        lease_tokens: jobs().map(|job| job.lease_token).collect(),
        purged: jobs().map(|job| job.purged).collect(),
        outcomes: endings().map(|ending| ending.map(|ending| ending.outcome as i16)).collect(),
        started_at: endings().map(|ending| ending.map(|ending| pg_time(ending.started_at))).collect(),
        errors: endings().map(|ending| text(ending?.error.as_deref())).collect(),
        results: endings().map(|ending| text(ending?.result.as_deref())).collect(),
        workers: endings().map(|ending| text(Some(&ending?.worker))).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_attempts(connection: &mut AsyncPgConnection, all: &[StoredWebhook]) -> QueryResult<()> {
    let told = all.iter().flat_map(|webhook| webhook.history().0.iter().map(|attempt| (webhook.id, attempt)));
    let attempts = told.collect::<Vec<(_, &StoredAttempt)>>();
    if attempts.is_empty() {
        return Ok(());
    }
    let each = || attempts.iter().map(|(_, attempt)| attempt);
    InsertAttempts {
        webhooks: attempts.iter().map(|(webhook, _)| rows::uuid(*webhook)).collect(),
        numbers: each().map(|attempt| number(attempt.number)).collect(),
        outcomes: each().map(|attempt| attempt.outcome as i16).collect(),
        started_at: each().map(|attempt| pg_time(attempt.started_at)).collect(),
        finished_at: each().map(|attempt| pg_time(attempt.finished_at)).collect(),
        errors: each().map(|attempt| text(attempt.error.as_deref())).collect(),
        results: each().map(|attempt| text(attempt.result.as_deref())).collect(),
        workers: each().map(|attempt| storable(&attempt.worker)).collect(),
    }
    .execute(connection)
    .await
    .map(|_| ())
}

async fn count(connection: &mut AsyncPgConnection, all: &[StoredWebhook]) -> QueryResult<()> {
    let of = |status: Status| {
        let webhooks = all.iter().filter(|webhook| webhook.job.status == status).count();
        i64::try_from(webhooks).unwrap_or(i64::MAX)
    };
    AddCounts {
        pending: of(Status::Pending),
        processing: of(Status::Processing),
        retrying: of(Status::Retrying),
        completed: of(Status::Completed),
        dead_lettered: of(Status::DeadLettered),
        cancelled: of(Status::Cancelled),
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
        payloads: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        digests: Vec<&'a [u8]> as Array<Binary>,
        traceparents: Vec<&'a str> as Array<Text>,
        accepted_at: Vec<PgTimestamp> as Array<Timestamptz>,
    }
    returns ();
    "INSERT INTO webhooks (id, source, idempotency_key, event_type, payload, payload_digest, traceparent, accepted_at)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Pg;
    struct InsertJobs {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        statuses: Vec<i16> as Array<SmallInt>,
        attempts: Vec<i32> as Array<Integer>,
        attempts_before: Vec<i32> as Array<Integer>,
        max_attempts: Vec<i32> as Array<Integer>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        updated_at: Vec<PgTimestamp> as Array<Timestamptz>,
        revisions: Vec<i64> as Array<BigInt>,
        lease_tokens: Vec<i64> as Array<BigInt>,
    }
    returns ();
    "INSERT INTO jobs (webhook, status, attempts, attempts_before, max_attempts, available_at, updated_at, revision, lease_token)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Pg;
    struct InsertFinished {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        statuses: Vec<i16> as Array<SmallInt>,
        attempts: Vec<i32> as Array<Integer>,
        max_attempts: Vec<i32> as Array<Integer>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        completed_at: Vec<PgTimestamp> as Array<Timestamptz>,
        revisions: Vec<i64> as Array<BigInt>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        purged: Vec<bool> as Array<Bool>,
        outcomes: Vec<Option<i16>> as Array<Nullable<SmallInt>>,
        started_at: Vec<Option<PgTimestamp>> as Array<Nullable<Timestamptz>>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        workers: Vec<Option<String>> as Array<Nullable<Text>>,
    }
    returns ();
    "INSERT INTO finished_jobs (webhook, status, attempts, max_attempts, available_at, completed_at, revision, lease_token,
                                purged, outcome, started_at, error, result, worker)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Pg;
    struct InsertAttempts {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        numbers: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        workers: Vec<String> as Array<Text>,
    }
    returns ();
    "INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, result, worker)
     SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Pg;
    /// One slot is as good as another: nobody else writes meanwhile.
    struct AddCounts {
        pending: i64 as BigInt,
        processing: i64 as BigInt,
        retrying: i64 as BigInt,
        completed: i64 as BigInt,
        dead_lettered: i64 as BigInt,
        cancelled: i64 as BigInt,
    }
    returns ();
    "UPDATE status_counts
     SET pending = pending + ?, processing = processing + ?, retrying = retrying + ?,
         completed = completed + ?, dead_lettered = dead_lettered + ?, cancelled = cancelled + ?
     WHERE slot = 0"
}
