//! Retention: a purge first removes payloads, and later webhooks with all their rows. Each step changes a
//! bounded number of rows, so that accepting continues in between.
//!
//! A finished job that is past a retention is marked, so that a purge does not read it again before the next
//! retention ends. The payload, and later the webhook, is removed when its last job is past the retention. Quarantined
//! webhooks are removed as a whole.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::keys::key_name;
use super::lanes::{self, Lane};
use super::quarantine;
use super::rows;
use super::transaction::{Refusal, Transaction};
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::domain::webhook::{IdempotencyKey, Source};
use crate::store::Purged;
use crate::store::fitting::fitting;
use crate::store::statement::statement;

/// Maximum number of jobs of each status in one transaction.
const PURGE_ROWS: i64 = 100;

/// Maximum number of bytes that a step removes: payloads, headers, results and deliveries of jobs, or the attempts of
/// webhooks. Those of one job, or of one webhook, may be more. Each attempt counts as 1 KiB at least.
const PURGE_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of pages returned to the file system in one transaction.
const VACUUM_PAGES: i64 = 100;

/// Free pages kept in the file for the next inserts.
const FREE_PAGES_KEPT: i64 = 256;

const FINAL: [Status; 4] = [Status::Completed, Status::DeadLettered, Status::Cancelled, Status::Filtered];

/// Jobs that finished at or before these times, in milliseconds since the epoch, are past their retention.
struct Limits {
    completed: i64,
    dead_lettered: i64,
    keys: i64,
    quarantined: i64,
}

impl Limits {
    fn payload_of(&self, status: Status) -> i64 {
        match status {
            // `DropPayloads` repeats this rule in SQL.
            Status::Completed | Status::Filtered => self.completed,
            _ => self.dead_lettered,
        }
    }
}

/// Removes a bounded number of payloads and webhooks that are past their retention.
pub(super) fn purge(transaction: &mut Transaction<'_>, retention: &Retention) -> Result<Purged, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let before = |kept: Duration| super::earlier(now, kept);
    let limits = Limits {
        completed: before(retention.completed),
        dead_lettered: before(retention.dead_lettered),
        keys: before(retention.keys),
        quarantined: before(retention.quarantined),
    };
    let mut purged = Purged::default();
    for status in FINAL {
        purged.more |= purge_payloads(transaction, status, &limits, &mut purged.payloads)?;
        purged.more |= purge_webhooks(transaction, status, &limits, now, &mut purged.webhooks)?;
    }
    purged.more |= purge_quarantined(transaction, &limits, &mut purged.webhooks)?;
    purged.more |= give_back_pages(transaction)?;
    Ok(purged)
}

/// Marks jobs that are past the retention of their payload, drops their results and deliveries, and payloads that no
/// job needs. Returns whether it marked any.
fn purge_payloads(
    transaction: &mut Transaction<'_>,
    status: Status,
    limits: &Limits,
    payloads: &mut usize,
) -> QueryResult<bool> {
    let connection = &mut *transaction.connection;
    let before = limits.payload_of(status);
    let selecting = SelectFinished { status: status as i64, before, limit: PURGE_ROWS };
    let past = selecting.load::<FinishedRow>(connection)?;
    if past.is_empty() {
        return Ok(false);
    }
    let count = fitting(past.iter().map(FinishedRow::bytes), PURGE_BYTES);
    let jobs = past.iter().take(count).map(|row| (row.webhook, row.queue)).collect::<Vec<_>>();
    let list = serde_json::to_string(&jobs).map_err(rows::unreadable)?;
    let Limits { completed, dead_lettered, .. } = *limits;
    *payloads += DropPayloads { jobs: &list, completed, dead_lettered }.execute(connection)?;
    DropContents { jobs: &list }.execute(connection)?;
    MarkJobs { purged: PAYLOAD, jobs: &list }.execute(connection)?;
    Ok(true)
}

/// Removes webhooks whose jobs are all past the retention of keys and already marked as past that of the
/// payload. Of other webhooks, marks the jobs that are past it. Returns whether it found any such job.
fn purge_webhooks(
    transaction: &mut Transaction<'_>,
    status: Status,
    limits: &Limits,
    now: i64,
    webhooks: &mut usize,
) -> QueryResult<bool> {
    let finished = SelectPurged {
        before_others: limits.keys,
        status: status as i64,
        before: limits.keys,
        limit: PURGE_ROWS,
    }
    .load::<PurgedRow>(transaction.connection)?;
    let count = fitting(finished.iter().map(PurgedRow::bytes), PURGE_BYTES);
    let mut marked = Vec::new();
    for row in finished.iter().take(count) {
        if row.has_others {
            marked.push((row.webhook, row.queue));
        } else if remove(transaction, row, now)? {
            *webhooks += 1;
        }
    }
    if !marked.is_empty() {
        let list = serde_json::to_string(&marked).map_err(rows::unreadable)?;
        MarkJobs { purged: KEY, jobs: &list }.execute(transaction.connection)?;
    }
    Ok(!finished.is_empty())
}

/// Removes quarantined webhooks that are past their retention. Returns whether it removed any.
fn purge_quarantined(
    transaction: &mut Transaction<'_>,
    limits: &Limits,
    webhooks: &mut usize,
) -> QueryResult<bool> {
    let (status, before) = (Status::Quarantined as i64, limits.quarantined);
    let selecting = SelectFinished { status, before, limit: PURGE_ROWS };
    let past = selecting.load::<FinishedRow>(transaction.connection)?;
    let count = fitting(past.iter().map(FinishedRow::bytes), PURGE_BYTES);
    for row in past.iter().take(count) {
        quarantine::remove(transaction, row.webhook)?;
        *webhooks += 1;
    }
    Ok(!past.is_empty())
}

/// Removes a webhook with all its rows. Returns false if it was already removed for another of its jobs.
fn remove(transaction: &mut Transaction<'_>, row: &PurgedRow, now: i64) -> QueryResult<bool> {
    let webhook = row.webhook;
    let jobs = DeleteJobs { webhook }.load::<RemovedJob>(transaction.connection)?;
    if jobs.is_empty() {
        return Ok(false);
    }
    let source = Source::new(row.source.as_str()).map_err(rows::unreadable)?;
    let key = IdempotencyKey::new(row.idempotency_key.as_str()).map_err(rows::unreadable)?;
    DeleteKey { name: &key_name(&source, &key) }.execute(transaction.connection)?;
    DeleteAttempts { webhook }.execute(transaction.connection)?;
    DeleteWebhook { sequence: webhook }.execute(transaction.connection)?;
    for job in jobs {
        let queue = rows::queue(job.queue)?;
        transaction.context.memory.counts.remove(queue, rows::job_status(job.status)?);
        if let Some(value) = job.lane.as_deref().filter(|_| job.blocks) {
            lanes::release(transaction, Lane { queue, value }, now)?;
        }
    }
    Ok(true)
}

/// Returns free pages to the file system; the file shrinks at the next checkpoint. Returns whether there were
/// any.
fn give_back_pages(transaction: &mut Transaction<'_>) -> QueryResult<bool> {
    let free = SelectFreePages {}.get_result::<i64>(transaction.connection)?;
    let pages = (free - FREE_PAGES_KEPT).min(VACUUM_PAGES);
    if pages <= 0 {
        return Ok(false);
    }
    transaction.connection.batch_execute(&format!("PRAGMA incremental_vacuum({pages})"))?;
    Ok(true)
}

/// The values of `jobs.purged`: past the retention of its payload, past that of its key.
const PAYLOAD: i64 = 1;
const KEY: i64 = 2;

/// A job, or the row of a webhook without jobs, that is past its first retention.
#[derive(Queryable)]
struct FinishedRow {
    webhook: i64,
    queue: i64,
    /// The bytes of the webhook and of the attempts of the job.
    bytes: i64,
}

impl FinishedRow {
    fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }
}

/// A job that is past the retention of keys.
#[derive(Queryable)]
struct PurgedRow {
    webhook: i64,
    queue: i64,
    source: String,
    idempotency_key: String,
    /// Whether another job of the webhook is not past the retention of keys, or not marked yet.
    has_others: bool,
    /// The bytes of the attempts of the webhook.
    bytes: i64,
}

impl PurgedRow {
    fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }
}

#[derive(Queryable)]
struct RemovedJob {
    queue: i64,
    status: i64,
    lane: Option<String>,
    blocks: bool,
}

statement! { Sqlite;
    struct SelectFinished {
        status: i64 as BigInt,
        before: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt);
    "SELECT j.webhook, j.queue, coalesce(octet_length(w.payload), 0) + coalesce(octet_length(w.headers), 0) + (
         SELECT coalesce(sum(max(
             coalesce(octet_length(a.result), 0) + coalesce(octet_length(a.delivery), 0), 1024)), 0)
         FROM attempts a WHERE a.webhook = j.webhook AND a.queue = j.queue)
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.completed_at IS NOT NULL AND j.purged = 0 AND j.status = ? AND j.completed_at <= ? LIMIT ?"
}

statement! { Sqlite;
    struct SelectPurged {
        before_others: i64 as BigInt,
        status: i64 as BigInt,
        before: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, BigInt, Text, Text, Bool, BigInt);
    "SELECT j.webhook, j.queue, w.source, w.idempotency_key,
            EXISTS (SELECT 1 FROM jobs o
                    WHERE o.webhook = j.webhook
                      AND (o.completed_at IS NULL OR o.completed_at > ? OR o.purged = 0)),
            (SELECT coalesce(sum(max(coalesce(octet_length(a.error), 0), 1024)), 0)
             FROM attempts a WHERE a.webhook = j.webhook)
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.completed_at IS NOT NULL AND j.purged = 1 AND j.status = ? AND j.completed_at <= ? LIMIT ?"
}

statement! { Sqlite;
    struct DropPayloads<'a> {
        jobs: &'a str as Text,
        completed: i64 as BigInt,
        dead_lettered: i64 as BigInt,
    }
    returns ();
    "UPDATE webhooks SET payload = NULL, headers = NULL
     WHERE sequence IN (SELECT value ->> 0 FROM json_each(?)) AND payload IS NOT NULL
       AND NOT EXISTS (
           SELECT 1 FROM jobs j
           WHERE j.webhook = webhooks.sequence
             AND (j.completed_at IS NULL OR j.completed_at > CASE WHEN j.status IN (3, 6) THEN ? ELSE ? END))"
}

statement! { Sqlite;
    struct DropContents<'a> { jobs: &'a str as Text, }
    returns ();
    "UPDATE attempts SET result = NULL, delivery = NULL
     WHERE (webhook, queue) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))
       AND (result IS NOT NULL OR delivery IS NOT NULL)"
}

statement! { Sqlite;
    struct MarkJobs<'a> {
        purged: i64 as BigInt,
        jobs: &'a str as Text,
    }
    returns ();
    "UPDATE jobs SET purged = ? WHERE (webhook, queue) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))"
}

statement! { Sqlite;
    struct DeleteKey<'a> { name: &'a [u8] as Binary, }
    returns ();
    "DELETE FROM idempotency_keys WHERE name = ?"
}

statement! { Sqlite;
    struct DeleteAttempts { webhook: i64 as BigInt, }
    returns ();
    "DELETE FROM attempts WHERE webhook = ?"
}

statement! { Sqlite;
    struct DeleteJobs { webhook: i64 as BigInt, }
    returns (BigInt, BigInt, Nullable<Text>, Bool);
    "DELETE FROM jobs WHERE webhook = ? RETURNING queue, status, lane, blocks"
}

statement! { Sqlite;
    struct DeleteWebhook { sequence: i64 as BigInt, }
    returns ();
    "DELETE FROM webhooks WHERE sequence = ?"
}

statement! { Sqlite;
    struct SelectFreePages {}
    returns BigInt;
    "PRAGMA freelist_count"
}
