//! Claiming due jobs: at most as many as the claimer can start.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::rows;
use super::transaction::{Refusal, Transaction};
use crate::domain::attempt::Lease;
use crate::domain::job::Status;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::store::ClaimedJob;
use crate::store::statement::statement;

/// When a job that could not be read is tried again.
const UNREAD_PAUSE: Duration = Duration::from_secs(5);

/// Jobs that a commit has leased.
pub(super) struct Claimed {
    pub(super) jobs: Vec<ClaimedRow>,
    /// When the next job that was not claimed is due.
    pub(super) next_due: Option<Timestamp>,
    pub(super) claimed_at: Timestamp,
}

/// A leased job without its webhook.
pub(super) struct ClaimedRow {
    webhook: i64,
    attempt: u32,
    attempt_of_run: u32,
    max_attempts: u32,
    available_at: Timestamp,
    lease_token: u64,
    pub(super) revision: u64,
}

/// Leases due jobs, those that are due longest first.
pub(super) fn claim(
    transaction: &mut Transaction<'_>,
    limit: i64,
    lease: Duration,
    worker: &str,
) -> Result<Claimed, Refusal> {
    let Transaction { connection, context, .. } = transaction;
    let claimed_at = context.clock.now();
    let now = claimed_at.as_millisecond();
    let due = SelectDue { now, limit }.load::<(i64, i64)>(*connection)?;
    let mut jobs = Vec::with_capacity(due.len());
    for (webhook, status) in due {
        let (attempts, attempts_before, max_attempts, available_at, lease_token, revision) =
            ClaimJob { lease_until: super::later(now, lease), updated_at: now, worker, webhook }
                .get_result::<(i64, i64, i64, i64, i64, i64)>(*connection)?;
        context.counts.shift(rows::job_status(status)?, Status::Processing);
        jobs.push(ClaimedRow {
            webhook,
            attempt: rows::count(attempts)?,
            attempt_of_run: rows::count(attempts - attempts_before)?,
            max_attempts: rows::count(max_attempts)?,
            available_at: rows::time(available_at)?,
            lease_token: lease_token.cast_unsigned(),
            revision: revision.cast_unsigned(),
        });
    }
    let next_due = SelectNextDue {}.get_result::<Option<i64>>(*connection)?.map(rows::time).transpose()?;
    Ok(Claimed { jobs, next_due, claimed_at })
}

/// The row of a leased job and its token.
pub(super) type LeasedRow = (i64, u64);

/// What became of reading the webhooks of leased jobs.
pub(super) struct ReadJobs {
    /// Those that can be run, each with the revision of its job.
    pub(super) jobs: Vec<(ClaimedJob, u64)>,
    /// Those that could not be read.
    pub(super) unread: Vec<LeasedRow>,
}

impl Claimed {
    /// The leases that were taken.
    pub(super) fn leases(&self) -> Vec<LeasedRow> {
        self.jobs.iter().map(|job| (job.webhook, job.lease_token)).collect()
    }
}

/// Reads the webhooks of leased jobs, each with its revision; and says which could not be read.
/// Done on a reading connection, so that the writer goes on. An error if none could be read.
pub(super) fn read_webhooks(connection: &mut SqliteConnection, claimed: Claimed) -> QueryResult<ReadJobs> {
    let (mut jobs, mut unread, mut failure) = (Vec::new(), Vec::new(), None);
    for job in claimed.jobs {
        let row = (job.webhook, job.lease_token);
        let revision = job.revision;
        match read_webhook(connection, job, claimed.claimed_at) {
            Ok(job) => jobs.push((job, revision)),
            Err(error) => {
                unread.push(row);
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if jobs.is_empty() => Err(error),
        _ => Ok(ReadJobs { jobs, unread }),
    }
}

fn read_webhook(
    connection: &mut SqliteConnection,
    job: ClaimedRow,
    claimed_at: Timestamp,
) -> QueryResult<ClaimedJob> {
    let (id, source, key, event_type, payload, traceparent) = SelectWebhook { sequence: job.webhook }
        .get_result::<(Vec<u8>, String, String, String, Option<String>, String)>(connection)?;
    Ok(ClaimedJob {
        lease: Lease { webhook: rows::id(&id)?, token: job.lease_token },
        source: Source::new(source).map_err(rows::unreadable)?,
        idempotency_key: IdempotencyKey::new(key).map_err(rows::unreadable)?,
        event_type: EventType::new(event_type).map_err(rows::unreadable)?,
        payload,
        traceparent: rows::traceparent(&traceparent)?,
        attempt: job.attempt,
        attempt_of_run: job.attempt_of_run,
        max_attempts: job.max_attempts,
        available_at: job.available_at,
        claimed_at,
    })
}

/// Gives back jobs that could not even be read: as if they had not been claimed, but due later.
pub(super) fn give_back(transaction: &mut Transaction<'_>, unread: &[LeasedRow]) -> Result<(), Refusal> {
    let Transaction { connection, context, made_due, .. } = transaction;
    let now = context.clock.now().as_millisecond();
    for (webhook, lease_token) in unread {
        let changed = UnclaimJob {
            available_at: super::later(now, UNREAD_PAUSE),
            updated_at: now,
            webhook: *webhook,
            lease_token: lease_token.cast_signed(),
        }
        .execute(*connection)?;
        if changed == 1 {
            context.counts.shift(Status::Processing, Status::Pending);
        }
    }
    *made_due = true;
    Ok(())
}

statement! { Sqlite;
    struct SelectDue {
        now: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "SELECT webhook, status FROM jobs WHERE status IN (0, 2) AND available_at <= ?
     ORDER BY available_at LIMIT ?"
}

statement! { Sqlite;
    struct SelectNextDue {}
    returns Nullable<BigInt>;
    "SELECT MIN(available_at) FROM jobs WHERE status IN (0, 2)"
}

statement! { Sqlite;
    struct ClaimJob<'a> {
        lease_until: i64 as BigInt,
        updated_at: i64 as BigInt,
        worker: &'a str as Text,
        webhook: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);
    "UPDATE jobs SET status = 1, attempts = attempts + 1, lease_token = lease_token + 1, revision = revision + 1,
            lease_until = ?, updated_at = ?, worker = ?
     WHERE webhook = ?
     RETURNING attempts, attempts_before, max_attempts, available_at, lease_token, revision"
}

statement! { Sqlite;
    struct SelectWebhook {
        sequence: i64 as BigInt,
    }
    returns (Binary, Text, Text, Text, Nullable<Text>, Text);
    "SELECT id, source, idempotency_key, event_type, payload, traceparent FROM webhooks WHERE sequence = ?"
}

statement! { Sqlite;
    struct UnclaimJob {
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        webhook: i64 as BigInt,
        lease_token: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET status = 0, attempts = attempts - 1, available_at = ?, updated_at = ?,
            lease_until = NULL, worker = NULL, revision = revision + 1
     WHERE webhook = ? AND lease_token = ? AND status = 1"
}
